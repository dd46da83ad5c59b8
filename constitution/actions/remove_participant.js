actions.set("remove_participant", {
  validate: (args) => checkArgs(args, { participant_id: is.id }),
  apply({ participant_id }) {
    removeParticipant(participant_id);
  },
  describe: ({ participant_id }) => `Remove the participant ${participant_id.slice(0, 8)}…`,
});

function removeParticipant(id) {
  const held = ccf.kv[USER_KEYS].has(textKey(id));
  for (const map of [USER_CERTS, USER_INFO, USER_KEYS]) ccf.kv[map].delete(textKey(id));
  if (!held || !participantsHoldShares() || !serviceIsOpen()) return;
  checkHoldersRemain();
  // What it knows of the present secret must not open what comes.
  ccf.node.triggerLedgerRekey();
}
