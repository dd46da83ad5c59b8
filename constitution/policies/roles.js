// So many active members of each role (member_data.role).
policies.set("roles", {
  validate(rule) {
    checkArgs(rule, { policy: is.string, required: is.object });
    const counts = Object.entries(rule.required);
    if (counts.length === 0) fail("required must name a role");
    for (const [role, count] of counts) is.integer(1, 1000)(count, `required.${role}`);
  },
  decide: (voters, { required }) =>
    every(Object.entries(required).map(([role, count]) => enough(voters.filter(({ data }) => data.role === role), count))),
  describe: ({ required }) =>
    Object.entries(required).map(([role, count]) => `${count} members of role ${role}`).join(" and ") + " must vote in favour",
});
