// What one request to the application may use. Governance's own scripts have limits that no vote changes.

// As `coco_types::limits` has them: nodes allow no more, whatever a row says.
const APP_HEAP_BYTES_MAX = 256 * 1024 * 1024;
const APP_STACK_BYTES_MAX = 4 * 1024 * 1024;
const APP_EXECUTION_MS_MAX = 10000;

actions.set("set_js_runtime_options", {
  validate: (args) =>
    checkArgs(args, {
      max_heap_bytes: is.integer(1024 * 1024, APP_HEAP_BYTES_MAX),
      max_stack_bytes: is.integer(64 * 1024, APP_STACK_BYTES_MAX),
      max_execution_time_ms: is.integer(1, APP_EXECUTION_MS_MAX),
      "log_exception_details?": is.flag,
      "return_exception_details?": is.flag,
      "max_cached_interpreters?": is.integer(0, 1000),
    }),
  apply: (args) => writeRow(JS_RUNTIME_OPTIONS, K0, args),
  describe({ max_heap_bytes: heap, max_stack_bytes: stack, max_execution_time_ms: time, log_exception_details: log, return_exception_details: tell }) {
    const told = tell ? "; callers are told what was thrown, with its trace" : "";
    const logged = log ? "; operators find in the nodes' logs what was thrown" : "";
    return `Let a request to the application use ${heap} bytes of heap, ${stack} of stack and ${time} ms at most${told}${logged}`;
  },
});
