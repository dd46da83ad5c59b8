actions.set("set_participant", {
  validate: (args) => checkArgs(args, { cert: is.certificate, "participant_data?": is.object, "encryption_pub_key?": is.encryptionKey }),
  apply({ cert, participant_data, encryption_pub_key }) {
    const key = textKey(ccf.pemToId(cert));
    ccf.kv[USER_CERTS].set(key, ccf.strToBuf(cert));
    if (participant_data) writeRow(USER_INFO, key, { user_data: participant_data });
    else ccf.kv[USER_INFO].delete(key);
    const held = ccf.kv[USER_KEYS].has(key);
    if (encryption_pub_key) ccf.kv[USER_KEYS].set(key, ccf.strToBuf(encryption_pub_key));
    else ccf.kv[USER_KEYS].delete(key);
    if (serviceIsOpen() && participantsHoldShares() && (held || encryption_pub_key)) {
      checkHoldersRemain();
      ccf.node.triggerRecoverySharesRefresh();
    }
  },
  describe: ({ cert, participant_data }) => `Let the participant ${named(participant_data, ccf.pemToId(cert))} use the network; it does not vote`,
});
