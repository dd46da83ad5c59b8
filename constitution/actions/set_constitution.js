actions.set("set_constitution", {
  validate(args) {
    checkArgs(args, { constitution: is.string });
    ccf.gov.validateConstitution(args.constitution);
  },
  apply({ constitution }, proposalId) {
    writeRow(CONSTITUTION, K0, constitution);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ constitution }) =>
    `Replace the constitution by another of ${constitution.length} characters, and drop every other open proposal`,
});
