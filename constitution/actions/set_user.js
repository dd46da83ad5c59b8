actions.set("set_user", {
  validate: (args) => checkArgs(args, { cert: is.certificate, "user_data?": is.object }),
  apply({ cert, user_data }) {
    const key = textKey(ccf.pemToId(cert));
    ccf.kv[USER_CERTS].set(key, ccf.strToBuf(cert));
    if (user_data) writeRow(USER_INFO, key, { user_data: user_data });
    else ccf.kv[USER_INFO].delete(key);
  },
  describe: ({ cert, user_data }) => `Let the participant ${named(user_data, ccf.pemToId(cert))} use the network; it does not vote`,
});
