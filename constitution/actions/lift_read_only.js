actions.set("lift_read_only", {
  validate: checkNoArgs,
  apply: () => ccf.kv[CLOSURES].delete(textKey("*")),
  describe: () => "Take writes again on every ledger that is not frozen by itself",
});
