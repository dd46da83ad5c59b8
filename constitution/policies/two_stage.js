// A committee (member_data.role) first, then all: before enough of the committee agree, votes of others do not carry.
policies.set("two_stage", {
  validate: (rule) => checkArgs(rule, { policy: is.string, role: is.string, required: is.integer(1, 1000) }),
  decide(voters, { role, required }) {
    const committee = enough(voters.filter(({ data }) => data.role === role), required);
    return committee === "Accepted" ? majorityOf(voters) : committee;
  },
  describe: ({ role, required }) => `${required} members of role ${role}, then more than half of the active members, must vote in favour`,
});
