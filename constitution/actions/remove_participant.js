actions.set("remove_participant", {
  validate: (args) => checkArgs(args, { participant_id: is.id }),
  apply({ participant_id }) {
    for (const map of [USER_CERTS, USER_INFO]) ccf.kv[map].delete(textKey(participant_id));
  },
  describe: ({ participant_id }) => `Remove the participant ${participant_id.slice(0, 8)}…`,
});
