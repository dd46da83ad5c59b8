// CCF's nodes keep modules compiled; these compile them when they run them, so that there is nothing to refresh.
actions.set("refresh_js_app_bytecode_cache", {
  validate: checkNoArgs,
  apply: () => ccf.refreshAppBytecodeCache(),
  describe: () => `Compile the application's modules anew, which changes nothing: nodes keep nothing compiled`,
});
