// Says in plain words what each action of a proposal would do. Not part of any decision: `coco gov show` prints it.

export function describe(input) {
  return JSON.parse(input).actions.map(({ name, args }) => actions.get(name)?.describe(args) ?? `${name}, which nobody knows`);
}
