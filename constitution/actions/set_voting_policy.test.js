refuses("set_voting_policy", { policy: "coin_toss" }, /must be one of m_of_n, majority/);
refuses("set_voting_policy", { policy: "m_of_n" }, /required is missing/);
refuses("set_voting_policy", { policy: "roles", required: {} }, /must name a role/);
const ids = ["a", "b", "c", "d"];
ids.forEach((id, at) => {
  const member_data = { weight: at + 1, role: at < 2 ? "auditor" : "bank", veto: at === 3 };
  writeRow(MEMBER_INFO, textKey(id), { status: "Active", member_data });
});
writeRow(MEMBER_INFO, textKey("idle"), { status: "Accepted" });
carries("set_voting_policy", { policy: "m_of_n", required: 2 });
equal(votingPolicy(), { policy: "m_of_n", required: 2 });
fails("set_voting_policy", { policy: "m_of_n", required: 5 }, /nothing could be accepted/);
fails("set_voting_policy", { policy: "roles", required: { king: 1 } }, /nothing could be accepted/);
const outcome = (rule, votes) => {
  writeRow(VOTING_POLICY, K0, rule);
  return resolve("{}", "a", Object.entries(votes).map(([member_id, vote]) => ({ member_id, vote })), "p");
};
const table = [
  [{ policy: "majority" }, { a: true, b: true }, "Open"],
  [{ policy: "majority" }, { a: true, b: true, c: true }, "Accepted"],
  [{ policy: "majority" }, { a: false, b: false }, "Rejected"],
  [{ policy: "majority" }, { a: true, b: true, idle: true, gone: true }, "Open"],
  [{ policy: "m_of_n", required: 2 }, { a: true }, "Open"],
  [{ policy: "m_of_n", required: 2 }, { a: true, d: true }, "Accepted"],
  [{ policy: "m_of_n", required: 2 }, { a: false, b: false, c: false }, "Rejected"],
  [{ policy: "m_of_n", required: 9 }, {}, "Rejected"],
  [{ policy: "unanimous" }, { a: true, b: true, c: true }, "Open"],
  [{ policy: "unanimous" }, { a: true, b: true, c: true, d: true }, "Accepted"],
  [{ policy: "unanimous" }, { c: false }, "Rejected"],
  [{ policy: "weighted", required: 6 }, { a: true, b: true, c: true }, "Accepted"],
  [{ policy: "weighted", required: 6 }, { d: true, a: true }, "Open"],
  [{ policy: "weighted", required: 8 }, { c: false }, "Rejected"],
  [{ policy: "roles", required: { auditor: 1, bank: 2 } }, { a: true, c: true }, "Open"],
  [{ policy: "roles", required: { auditor: 1, bank: 2 } }, { a: true, c: true, d: true }, "Accepted"],
  [{ policy: "roles", required: { auditor: 1, bank: 2 } }, { c: false }, "Rejected"],
  [{ policy: "veto" }, { a: true, b: true, c: true }, "Open"],
  [{ policy: "veto" }, { a: true, b: true, d: true }, "Accepted"],
  [{ policy: "veto" }, { a: true, b: true, c: true, d: false }, "Rejected"],
  [{ policy: "two_stage", role: "auditor", required: 2 }, { a: true, c: true, d: true }, "Open"],
  [{ policy: "two_stage", role: "auditor", required: 2 }, { a: true, b: true, d: true }, "Accepted"],
  [{ policy: "two_stage", role: "auditor", required: 2 }, { a: false }, "Rejected"],
];
for (const [rule, votes, expected] of table) equal([rule, votes, outcome(rule, votes)], [rule, votes, expected]);
