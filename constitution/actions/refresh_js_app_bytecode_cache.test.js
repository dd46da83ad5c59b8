refuses("refresh_js_app_bytecode_cache", { now: true }, /takes no arguments/);
carries("refresh_js_app_bytecode_cache");
for (const map of JS_CACHES) equal(ccf.kv[map].size, 0);
