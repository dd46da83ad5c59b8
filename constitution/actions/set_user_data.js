actions.set("set_user_data", {
  validate: (args) => checkArgs(args, { user_id: is.id, "user_data?": is.object }),
  apply({ user_id, user_data }) {
    if (!ccf.kv[USER_CERTS].has(textKey(user_id))) fail(`there is no participant ${user_id}`);
    if (user_data) writeRow(USER_INFO, textKey(user_id), { user_data });
    else ccf.kv[USER_INFO].delete(textKey(user_id));
  },
  describe: ({ user_id, user_data }) => `Describe the participant ${user_id.slice(0, 8)}… as ${JSON.stringify(user_data ?? {})}`,
});
