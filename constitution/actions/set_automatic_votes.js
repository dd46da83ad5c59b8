// What a member may do without asking the others: so many nodes of its own, as long as they run accepted code.
actions.set("set_automatic_votes", {
  validate: (args) => checkArgs(args, { nodes_per_member: is.integer(0, 100) }),
  apply(args, proposalId) {
    writeRow(AUTOMATIC_VOTES, K0, args);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ nodes_per_member }) =>
    nodes_per_member
      ? `Let every member add up to ${nodes_per_member} nodes that run accepted code, without a vote; every other open proposal is dropped`
      : "Let no member add a node without a vote; every other open proposal is dropped",
});
