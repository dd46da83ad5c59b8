actions.set("set_voting_policy", {
  validate(args) {
    const policy = policies.get(args?.policy) ?? fail(`policy must be one of ${[...policies.keys()].join(", ")}`);
    policy.validate(args);
  },
  apply(args, proposalId) {
    const unanimous = electorate([]).map((voter) => ({ ...voter, vote: true }));
    if (policies.get(args.policy).decide(unanimous, args) !== "Accepted") {
      fail("under this policy nothing could be accepted even if all members agreed");
    }
    writeRow(VOTING_POLICY, K0, args);
    dropOtherOpenProposals(proposalId);
  },
  describe: (args) => `From now on, ${policies.get(args.policy).describe(args)}; every other open proposal is dropped`,
});
