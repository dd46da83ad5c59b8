const endpoint = {
  js_module: "bank.js",
  js_function: "balance",
  mode: "readonly",
  forwarding_required: "sometimes",
  authn_policies: ["user_cert", { all_of: ["member_cert", "jwt"] }],
  openapi: {},
};
const modules = [{ name: "bank.js", module: "export function balance() {}" }, { name: "lib/money.js", module: "export {}" }];
const bundle = (endpoints) => ({ bundle: { metadata: { endpoints }, modules } });
const at = (path, changes) => bundle({ [path]: { get: { ...endpoint, ...changes } } });

refuses("set_js_app", {}, /bundle is missing/);
refuses("set_js_app", { bundle: { metadata: {}, modules } }, /endpoints is missing/);
refuses("set_js_app", { bundle: { metadata: { endpoints: {} }, modules: [{ name: "../a.js", module: "" }] } }, /is no name of a module/);
refuses("set_js_app", { bundle: { metadata: { endpoints: {} }, modules: [modules[0], modules[0]] } }, /two modules bank.js/);
refuses("set_js_app", { bundle: { metadata: { endpoints: {} } } }, /modules is missing/);
refuses("set_js_app", bundle({ "/a": { trace: endpoint } }), /no method trace/);
refuses("set_js_app", bundle({ "/a": 7 }), /must be an object of methods/);
refuses("set_js_app", bundle({ "/a/{x}": { get: endpoint }, "/a/{y}": { get: endpoint } }), /two endpoints/);
refuses("set_js_app", at("a"), /must begin with/);
refuses("set_js_app", at("/a//b"), /empty or malformed/);
refuses("set_js_app", at("/a/{x}{y}"), /empty or malformed/);
refuses("set_js_app", at("/{x}/{x}"), /two parameters of one name/);
for (const taken of ["/records/a", "/identities", "/sawtooth", "/tx"]) refuses("set_js_app", at(taken), /answered by the network itself/);
refuses("set_js_app", at("/a", { js_module: "none.js" }), /no module none.js/);
refuses("set_js_app", at("/a", { mode: "writeonly" }), /mode must be one of/);
refuses("set_js_app", at("/a", { forwarding_required: undefined }), /forwarding_required is missing/);
refuses("set_js_app", at("/a", { authn_policies: [] }), /authn_policies must be a list/);
refuses("set_js_app", at("/a", { authn_policies: ["anybody"] }), /no policy anybody/);
refuses("set_js_app", at("/a", { authn_policies: [{ all_of: ["no_auth", "jwt"] }] }), /cannot be one of all_of/);
refuses("set_js_app", at("/a", { authn_polices: [] }), /no argument authn_polices/);

carries("set_js_app", at("/accounts/{id}"));
carries("set_js_app", { ...bundle({ "/accounts/{id}:close": { post: { ...endpoint, mode: "readwrite" } } }), disable_bytecode_cache: true });
const row = readRow(JS_ENDPOINTS, textKey("POST /accounts/{id}:close"));
equal([row.js_module, row.mode], ["/bank.js", "readwrite"]);
equal(ccf.kv[JS_ENDPOINTS].has(textKey("GET /accounts/{id}")), false);
equal(ccf.bufToStr(ccf.kv[JS_MODULES].get(textKey("/lib/money.js"))), "export {}");
equal(ccf.kv[JS_MODULES].size, 2);
