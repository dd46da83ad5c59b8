// Carries out an accepted proposal, action by action. If one throws, none has happened.

export function apply(proposal, proposalId) {
  for (const { name, args } of JSON.parse(proposal).actions) {
    const action = actions.get(name);
    if (action === undefined) throw new Error(`there is no action ${name}`);
    action.apply(args, proposalId);
  }
}
