// Every active member.
policies.set("unanimous", {
  validate: (rule) => checkArgs(rule, { policy: is.string }),
  decide: (voters) => enough(voters, voters.length),
  describe: () => "every active member must vote in favour",
});
