actions.set("remove_user", {
  validate: (args) => checkArgs(args, { user_id: is.id }),
  apply({ user_id }) {
    removeParticipant(user_id);
  },
  describe: ({ user_id }) => `Remove the participant ${user_id.slice(0, 8)}…`,
});
