actions.set("trigger_ledger_rekey", {
  validate: checkNoArgs,
  apply: () => ccf.node.triggerLedgerRekey(),
  describe: () => "Seal the ledger with a new secret from here on, and give the members new recovery shares",
});
