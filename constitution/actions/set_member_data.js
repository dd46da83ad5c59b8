actions.set("set_member_data", {
  validate: (args) => checkArgs(args, { member_id: is.id, member_data: is.object }),
  apply({ member_id, member_data }) {
    const info = mustExist(MEMBER_INFO, member_id, "member");
    writeRow(MEMBER_INFO, textKey(member_id), { ...info, member_data });
  },
  describe: ({ member_id, member_data }) => `Describe the member ${memberName(member_id)} as ${JSON.stringify(member_data)}`,
});
