actions.set("trigger_ledger_chunk", {
  validate: checkNoArgs,
  apply: () => ccf.node.triggerLedgerChunk(),
  describe: () => "End the ledger's present file with the next signature, so that it can be copied as it is",
});
