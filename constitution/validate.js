// Checks every action of a proposal, and says all that is wrong with it.

const ACTIONS_MAX = 1000;

export function validate(input) {
  const problems = [];
  let proposal;
  try {
    proposal = JSON.parse(input);
  } catch (error) {
    return { valid: false, description: `the proposal is not JSON: ${error.message}` };
  }
  if (!Array.isArray(proposal?.actions) || proposal.actions.length === 0) {
    return { valid: false, description: "the proposal has no actions" };
  }
  if (proposal.actions.length > ACTIONS_MAX) {
    return { valid: false, description: `the proposal has ${proposal.actions.length} actions, and may have ${ACTIONS_MAX}` };
  }
  proposal.actions.forEach((entry, at) => {
    const { name, args } = entry ?? {};
    const action = actions.get(name);
    if (action === undefined) {
      problems.push(`action ${at + 1}: there is no action ${name}`);
      return;
    }
    try {
      action.validate(args);
    } catch (error) {
      problems.push(`action ${at + 1} (${name}): ${error.message}`);
    }
  });
  return { valid: problems.length === 0, description: problems.join("; ") };
}
