// More than half of the active members.
policies.set("majority", {
  validate: (rule) => checkArgs(rule, { policy: is.string }),
  decide: (voters) => majorityOf(voters),
  describe: () => "more than half of the active members must vote in favour",
});
