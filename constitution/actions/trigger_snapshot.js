actions.set("trigger_snapshot", {
  validate: checkNoArgs,
  apply: () => ccf.node.triggerSnapshot(),
  describe: () => "Let the primary write the state down, at the end of the ledger's present file",
});
