// Whom nodes tell what about members and participants. What is not named stays as it is; the ledger files say it all the same.
const DISCLOSED = {
  member_certificates: "members' certificates",
  member_encryption_keys: "members' encryption keys",
  member_data: "what is said about members (member_data)",
  participants: "who the participants are, their certificates and what is said about them",
  proposals: "the texts of proposals and ballots, which may name all of these",
  bindings: "which addresses and keys of ledgers are bound to whom",
};
const AUDIENCES = {
  everyone: "everyone who reaches a node",
  callers: "callers who prove to be anybody that the network knows",
  members: "members, and those whom it is about",
  themselves: "nobody but those whom it is about",
};

actions.set("set_identity_disclosure", {
  validate(args) {
    const audience = is.oneOf(Object.keys(AUDIENCES));
    checkArgs(args, Object.fromEntries(Object.keys(DISCLOSED).map((what) => [`${what}?`, audience])));
    if (Object.keys(args).length === 0) fail(`name at least one of ${Object.keys(DISCLOSED).join(", ")}`);
  },
  apply: (args) => writeRow(IDENTITY_DISCLOSURE, K0, { ...readRow(IDENTITY_DISCLOSURE, K0), ...args }),
  describe(args) {
    const told = Object.entries(args).map(([what, to]) => `${DISCLOSED[what]} to ${AUDIENCES[to]}`);
    return `Let nodes tell ${told.join("; ")}`;
  },
});
