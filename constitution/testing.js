// What the tests of actions use: each `<name>.test.js` runs after the constitution, on a network that is about to open.

function equal(actual, expected) {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`got ${left}, expected ${right}`);
}

function matches(error, pattern) {
  const text = `${error.name}: ${error.message}`;
  if (!pattern.test(text)) throw new Error(`got ${text}, expected ${pattern}`);
}

const asProposal = (name, args) => JSON.stringify({ actions: [{ name, args }] });

// `validate` must refuse it.
function refuses(name, args, pattern) {
  const { valid, description } = validate(asProposal(name, args));
  if (valid) throw new Error(`${name} was valid, expected ${pattern}`);
  matches(new Error(description), pattern);
}

// It is valid, and `apply` must throw.
function fails(name, args, pattern) {
  equal(validate(asProposal(name, args)), { valid: true, description: "" });
  try {
    apply(asProposal(name, args), "this");
  } catch (error) {
    matches(error, pattern);
    return;
  }
  throw new Error(`${name} was applied, expected ${pattern}`);
}

// It is valid, can be described, and is applied.
function carries(name, args) {
  equal(validate(asProposal(name, args)), { valid: true, description: "" });
  for (const sentence of describe(asProposal(name, args))) if (!/^[A-Z]/.test(sentence)) throw new Error(`described as ${sentence}`);
  apply(asProposal(name, args), "this");
}
