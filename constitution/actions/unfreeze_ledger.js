actions.set("unfreeze_ledger", {
  validate: (args) => checkArgs(args, { ledger: is.ledger }),
  apply({ ledger }) {
    mustExist(CLOSURES, ledger, "frozen ledger");
    ccf.kv[CLOSURES].delete(textKey(ledger));
  },
  describe: ({ ledger }) => `Take writes on the ledger ${ledger} again`,
});
