actions.set("set_participant", {
  validate: (args) => checkArgs(args, { cert: is.certificate, "participant_data?": is.object }),
  apply({ cert, participant_data }) {
    const key = textKey(ccf.pemToId(cert));
    ccf.kv[USER_CERTS].set(key, ccf.strToBuf(cert));
    if (participant_data) writeRow(USER_INFO, key, { user_data: participant_data });
    else ccf.kv[USER_INFO].delete(key);
  },
  describe: ({ cert, participant_data }) => `Let the participant ${named(participant_data, ccf.pemToId(cert))} use the network; it does not vote`,
});
