// The SDK itself is the published one. The zeromq 4 that it names does not compile for node 12 or newer; its successor
// brings the same interface along.
module.exports = require('zeromq6/v5-compat');
