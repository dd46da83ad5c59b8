const options = { max_heap_bytes: 1 << 26, max_stack_bytes: 1 << 20, max_execution_time_ms: 1000 };
refuses("set_js_runtime_options", { ...options, max_heap_bytes: undefined }, /max_heap_bytes is missing/);
refuses("set_js_runtime_options", { ...options, max_heap_bytes: 2 ** 40 }, /max_heap_bytes must be a whole number/);
refuses("set_js_runtime_options", { ...options, max_stack_bytes: 0 }, /max_stack_bytes must be a whole number/);
refuses("set_js_runtime_options", { ...options, max_execution_time_ms: 3600000 }, /max_execution_time_ms must be a whole number/);
refuses("set_js_runtime_options", { ...options, return_exception_details: "yes" }, /must be true or false/);
carries("set_js_runtime_options", { ...options, return_exception_details: true, log_exception_details: true });
equal(readRow(JS_RUNTIME_OPTIONS, K0).max_execution_time_ms, 1000);
