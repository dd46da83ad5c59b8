actions.set("freeze_ledger", {
  validate(args) {
    checkArgs(args, { ledger: is.ledger, reason: is.words });
    mustBeHosted(args.ledger);
  },
  apply: ({ ledger, reason }) => writeRow(CLOSURES, textKey(ledger), { reason }),
  describe: ({ ledger, reason }) => `Take no more writes on the ledger ${ledger}, because: ${reason}`,
});
