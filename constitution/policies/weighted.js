// Each active member counts as much as its member_data.weight says (1 if it says nothing).
policies.set("weighted", {
  validate: (rule) => checkArgs(rule, { policy: is.string, required: is.integer(1, 1000000) }),
  decide: (voters, { required }) =>
    enough(voters, required, ({ data }) => (Number.isInteger(data.weight) && data.weight >= 0 ? data.weight : 1)),
  describe: ({ required }) => `members in favour must together have a weight (member_data.weight) of ${required}`,
});
