// A majority, and nobody with a veto (member_data.veto) against it: their consent is waited for.
policies.set("veto", {
  validate: (rule) => checkArgs(rule, { policy: is.string }),
  decide(voters) {
    const holders = voters.filter(({ data }) => data.veto === true);
    const consent = holders.length === 0 ? "Accepted" : enough(holders, holders.length);
    return every([majorityOf(voters), consent]);
  },
  describe: () => "more than half of the active members must vote in favour, among them all that have a veto",
});
