// The ledger begins in the transaction that accepts this. Its code is in the nodes already: an action cannot bring any.
actions.set("add_ledger", {
  validate(args) {
    checkArgs(args, { ledger: is.ledger, genesis: is.object });
    mayBegin(args.ledger);
    const problem = ccf.gov.ledgerProblem(args.ledger, args.genesis);
    if (problem !== undefined) fail(problem);
  },
  apply({ ledger, genesis }) {
    // Another proposal may have added it since this one was made.
    mayBegin(ledger);
    writeRow(ADDED_LEDGERS, textKey(ledger), { genesis });
  },
  describe({ ledger, genesis }) {
    const with_ = Object.keys(genesis).length === 0 ? "its code's own defaults" : `the genesis ${shortJson(genesis)}`;
    return (
      `Host another ledger, ${ledger}, beginning with ${with_}. Every node serves it from then on: below /app/${ledger} of its API, ` +
      "and at the ledger's own ports where its operator names them in [listen.ledgers]"
    );
  },
});

function mayBegin(ledger) {
  if (isHosted(ledger)) fail(`the network hosts the ledger ${ledger} already`);
  if (isRemoved(ledger)) fail(`the ledger ${ledger} was removed: what it held stays for audits, and it cannot begin a second time`);
}

function shortJson(value) {
  const text = JSON.stringify(value);
  return text.length <= 200 ? text : `of ${text.length} characters, ${text.slice(0, 150)}…`;
}
