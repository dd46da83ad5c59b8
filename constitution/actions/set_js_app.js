// What nodes serve below /app, in CCF's form: modules, and which function answers which path. Replaces all of what was there.

// Answered by the network itself or by its other ledgers: an endpoint there would never be asked.
const APP_PATHS_TAKEN = ["api", "commit", "ethereum", "identities", "records", "sawtooth", "tx"];
const APP_POLICIES = ["no_auth", "user_cert", "member_cert", "any_cert", "jwt", "user_cose_sign1", "member_cose_sign1"];
const APP_METHODS = ["get", "put", "post", "patch", "delete", "head", "options"];
const APP_MODULES_MAX = 1000;
const APP_ENDPOINTS_MAX = 1000;

// Parts that are spelt out, or have one name in braces: /accounts/{id}, /accounts/{id}:close.
function checkAppPath(path) {
  const parts = path.split("/");
  if (parts.length < 2 || parts[0] !== "") fail(`the path ${path} must begin with /`);
  const names = [];
  for (const part of parts.slice(1)) {
    const form = /^[\w.~!$&'()*+,;=:@%-]*(?:\{(\w+)\}[\w.~!$&'()*+,;=:@%-]*)?$/.exec(part);
    if (part === "" || form === null) fail(`the path ${path} has a part that is empty or malformed`);
    if (form[1] !== undefined) names.push(form[1]);
  }
  if (new Set(names).size < names.length) fail(`the path ${path} has two parameters of one name`);
  if (names.length > 0 && parts[1].includes("{")) return;
  if (APP_PATHS_TAKEN.includes(parts[1])) fail(`/app/${parts[1]} is answered by the network itself: ${path} would never be asked`);
}

function checkAppPolicy(policy, field) {
  if (typeof policy === "string") {
    if (!APP_POLICIES.includes(policy)) fail(`${field}: there is no policy ${policy}`);
    return;
  }
  checkArgs(policy, { all_of: is.texts });
  for (const name of policy.all_of) {
    if (!APP_POLICIES.includes(name) || name === "no_auth") fail(`${field}: ${name} cannot be one of all_of`);
  }
  if (new Set(policy.all_of).size < policy.all_of.length) fail(`${field}: a policy stands twice in all_of`);
}

function checkAppEndpoint(endpoint, where, modules) {
  checkArgs(endpoint, {
    js_module: is.string,
    js_function: is.words,
    mode: is.oneOf(["readwrite", "readonly", "historical"]),
    forwarding_required: is.oneOf(["sometimes", "always", "never"]),
    "redirection_strategy?": is.oneOf(["none", "to_primary", "to_backup"]),
    authn_policies: (policies, field) => {
      if (!Array.isArray(policies) || policies.length === 0) fail(`${field} must be a list of policies`);
      policies.forEach((policy) => checkAppPolicy(policy, field));
    },
    "openapi?": is.object,
    "openapi_hidden?": is.flag,
    "interpreter_reuse?": is.object,
  });
  if (!modules.has(endpoint.js_module)) fail(`${where}: the bundle has no module ${endpoint.js_module}`);
}

function checkAppModules(modules) {
  if (!Array.isArray(modules)) fail("modules must be a list");
  if (modules.length > APP_MODULES_MAX) fail(`the bundle has ${modules.length} modules, and may have ${APP_MODULES_MAX}`);
  const names = new Set();
  for (const module of modules) {
    checkArgs(module, { name: is.words, module: is.string });
    if (module.name.split("/").some((part) => part === "" || part === "." || part === "..")) fail(`${module.name} is no name of a module`);
    if (names.has(module.name)) fail(`there are two modules ${module.name}`);
    names.add(module.name);
  }
  return names;
}

function checkAppBundle(bundle) {
  checkArgs(bundle, { metadata: is.object, modules: () => {} });
  const modules = checkAppModules(bundle.modules);
  checkArgs(bundle.metadata, { endpoints: is.object });
  const endpoints = appEndpoints(bundle);
  if (endpoints.length > APP_ENDPOINTS_MAX) fail(`the bundle has ${endpoints.length} endpoints, and may have ${APP_ENDPOINTS_MAX}`);
  const seen = new Set();
  for (const [method, path, endpoint] of endpoints) {
    const where = `${method.toUpperCase()} ${path}`;
    if (!APP_METHODS.includes(method.toLowerCase())) fail(`${where}: there is no method ${method}`);
    // Two of one form would both be meant by the same requests.
    const form = where.replace(/\{\w+\}/g, "{}");
    if (seen.has(form)) fail(`there are two endpoints for ${where}`);
    seen.add(form);
    checkAppPath(path);
    try {
      checkAppEndpoint(endpoint, where, modules);
    } catch (error) {
      fail(`${where}: ${error.message}`);
    }
  }
}

function appEndpoints({ metadata }) {
  const ofPath = ([path, methods]) => {
    if (typeof methods !== "object" || methods === null || Array.isArray(methods)) fail(`${path} must be an object of methods`);
    return Object.entries(methods).map(([method, endpoint]) => [method, path, endpoint]);
  };
  return Object.entries(metadata.endpoints).flatMap(ofPath);
}

function clearApp() {
  for (const map of [JS_MODULES, JS_ENDPOINTS, ...JS_CACHES]) ccf.kv[map].clear();
}

actions.set("set_js_app", {
  validate(args) {
    // Nothing is cached here, whatever is said about it.
    checkArgs(args, { bundle: is.object, "disable_bytecode_cache?": is.flag });
    checkAppBundle(args.bundle);
  },
  apply({ bundle }) {
    clearApp();
    for (const { name, module } of bundle.modules) ccf.kv[JS_MODULES].set(textKey(`/${name}`), ccf.strToBuf(module));
    for (const [method, path, endpoint] of appEndpoints(bundle)) {
      writeRow(JS_ENDPOINTS, textKey(`${method.toUpperCase()} ${path}`), { ...endpoint, js_module: `/${endpoint.js_module}` });
    }
  },
  describe({ bundle }) {
    const SHOWN = 20;
    const endpoints = appEndpoints(bundle).map(([method, path, { mode, authn_policies: policies }]) => {
      const names = policies.map((policy) => (typeof policy === "string" ? policy : policy.all_of.join(" and ")));
      return `${method.toUpperCase()} ${path} (${mode}; ${names.join(" or ")})`;
    });
    const more = endpoints.length > SHOWN ? ` and ${endpoints.length - SHOWN} more` : "";
    const digest = hexDigest(JSON.stringify(bundle.modules.map(({ name, module }) => [name, module])));
    const hosted = isHosted("app") ? "" : ". The network does not host the ledger app: nothing is served until it is added (add_ledger)";
    const code = `${bundle.modules.length} modules of SHA-256 ${digest.slice(0, 16)}…`;
    return `Serve an application of ${code} below /app, in place of what is there: ${endpoints.slice(0, SHOWN).join(", ")}${more}${hosted}`;
  },
});
