const other = "export function validate(a) {} export function resolve(a, b, c) {} export function apply(a, b) {}";
refuses("set_constitution", { constitution: "export function validate(a) {}" }, /no function resolve/);
refuses("set_constitution", { constitution: "not JavaScript" }, /SyntaxError/);
writeRow(PROPOSALS_INFO, textKey("p1"), { proposer_id: "m", state: "Open", ballots: {} });
writeRow(PROPOSALS_INFO, textKey("p2"), { proposer_id: "m", state: "Withdrawn", ballots: {} });
carries("set_constitution", { constitution: other });
equal(readRow(CONSTITUTION, K0), other);
equal(readRow(PROPOSALS_INFO, textKey("p1")).state, "Dropped");
equal(readRow(PROPOSALS_INFO, textKey("p2")).state, "Withdrawn");
