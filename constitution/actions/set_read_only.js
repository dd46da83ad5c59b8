// For an emergency: nothing is written on any ledger until a vote lifts it. Reads and governance go on.
actions.set("set_read_only", {
  validate: (args) => checkArgs(args, { reason: is.words }),
  apply: ({ reason }) => writeRow(CLOSURES, textKey("*"), { reason }),
  describe: ({ reason }) => `Take no more writes on any ledger until a vote lifts this, because: ${reason}`,
});
