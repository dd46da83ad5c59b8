// Decides after every ballot by the voting policy in force: a row that `set_voting_policy` writes, else a majority of the active members.

function votingPolicy() {
  return readRow(VOTING_POLICY, K0) ?? { policy: "majority" };
}

// Votes of members who are still active, with what the policies ask about their members.
function electorate(votes) {
  const cast = new Map(votes.map(({ member_id, vote }) => [member_id, vote]));
  return activeMembers().map(([id, info]) => ({ id, data: info.member_data ?? {}, vote: cast.get(id) }));
}

// The rule that all policies but unanimity share: accepted with enough in favour, rejected once that is out of reach.
function enough(voters, required, weight = () => 1) {
  const sum = (wanted) => voters.filter(wanted).reduce((total, voter) => total + weight(voter), 0);
  if (required > 0 && sum(({ vote }) => vote === true) >= required) return "Accepted";
  return sum(({ vote }) => vote !== false) < required ? "Rejected" : "Open";
}

// Every part must accept; any that rejects, rejects.
function every(decisions) {
  if (decisions.includes("Rejected")) return "Rejected";
  return decisions.every((decision) => decision === "Accepted") ? "Accepted" : "Open";
}

function majorityOf(voters) {
  return enough(voters, Math.floor(voters.length / 2) + 1);
}

// Whom the members have trusted with a token issuer's keys needs no votes to bring newer ones.
function onlyRefreshesKeys(proposal, proposerId) {
  const { actions = [] } = JSON.parse(proposal);
  const refreshes = ({ name, args }) =>
    name === "set_jwt_public_signing_keys" &&
    readRow(JWT_ISSUERS, textKey(args.issuer))?.refreshers?.includes(proposerId) === true;
  return actions.length > 0 && actions.every(refreshes);
}

// A member may add nodes of its own without asking, as many as the consortium has agreed on: they run accepted code, or would not wait.
function isAutomatic(proposal, proposerId) {
  const limit = readRow(AUTOMATIC_VOTES, K0)?.nodes_per_member ?? 0;
  const { actions: asked } = JSON.parse(proposal);
  if (limit === 0 || asked?.length !== 1 || asked[0].name !== "transition_node_to_trusted") return false;
  const own = rows(NODE_INFO).filter(([, { owner, status }]) => owner === proposerId && status === "Trusted");
  return readRow(MEMBER_INFO, textKey(proposerId))?.status === "Active" && own.length < limit;
}

export function resolve(proposal, proposerId, votes, proposalId) {
  if (onlyRefreshesKeys(proposal, proposerId) || isAutomatic(proposal, proposerId)) return "Accepted";
  const rule = votingPolicy();
  const policy = policies.get(rule.policy);
  if (policy === undefined) throw new Error(`there is no voting policy ${rule.policy}`);
  return policy.decide(electorate(votes), rule);
}
