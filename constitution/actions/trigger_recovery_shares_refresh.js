actions.set("trigger_recovery_shares_refresh", {
  validate: checkNoArgs,
  apply: () => ccf.node.triggerRecoverySharesRefresh(),
  describe: () => "Give the members new recovery shares; the present ones become worthless",
});
