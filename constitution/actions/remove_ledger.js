// The ledger's state stays in the nodes' memory and files as it is, so that receipts, audits and recoveries go on; nobody reads or writes it any more.
actions.set("remove_ledger", {
  validate(args) {
    checkArgs(args, { ledger: is.ledger, reason: is.words });
    mustBeHosted(args.ledger);
  },
  apply({ ledger, reason }) {
    // Another proposal may have removed it since this one was made.
    mustBeHosted(ledger);
    writeRow(REMOVED_LEDGERS, textKey(ledger), { reason });
  },
  describe: ({ ledger, reason }) =>
    `Stop the ledger ${ledger} FOR GOOD, because: ${reason}. No node serves it or takes its transactions any more, and it cannot be added again; ` +
    "what it holds stays in the ledger files, for receipts and audits (freeze_ledger stops writes only, and can be taken back)",
});

function mustBeHosted(ledger) {
  if (!isHosted(ledger)) fail(`the network hosts no ledger ${ledger}`);
}
