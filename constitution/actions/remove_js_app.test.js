refuses("remove_js_app", { now: true }, /takes no arguments/);
const endpoint = { js_module: "a.js", js_function: "a", mode: "readonly", forwarding_required: "never", authn_policies: ["no_auth"] };
carries("set_js_app", { bundle: { metadata: { endpoints: { "/a": { get: endpoint } } }, modules: [{ name: "a.js", module: "" }] } });
carries("remove_js_app");
equal([ccf.kv[JS_MODULES].size, ccf.kv[JS_ENDPOINTS].size], [0, 0]);
carries("remove_js_app");
