// A fixed number of active members, however many there are.
policies.set("m_of_n", {
  validate: (rule) => checkArgs(rule, { policy: is.string, required: is.integer(1, 1000) }),
  decide: (voters, { required }) => enough(voters, required),
  describe: ({ required }) => `${required} active members must vote in favour`,
});
