// emitter.js [SECONDS]: Node's own emitter at the work of bench_emitter.c. Prints one JSON object.
'use strict';
const { EventEmitter } = require('events');

const names = ['orders.placed', 'orders.paid', 'orders.shipped', 'stock.low'];
const value = Buffer.from('sixteen bytes ..');
const CHUNK = 4096; // emits between looks at the CPU time, as there

function run(listeners, topics, seconds) {
    const emitter = new EventEmitter();
    const sums = new Array(listeners).fill(0);
    emitter.setMaxListeners(0);
    for (let i = 0; i < topics; i++)
        for (let j = 0; j < listeners; j++)
            emitter.on(names[i], (event) => { sums[j] += event.length; });
    let emits = 0, took;
    const began = process.cpuUsage();
    do {
        for (let i = 0; i < CHUNK; i++)
            emitter.emit(names[i & (topics - 1)], value);
        emits += CHUNK;
        const used = process.cpuUsage(began);
        took = (used.user + used.system) / 1e6;
    } while (took < seconds);
    if (sums.reduce((a, b) => a + b) !== emits * listeners * value.length)
        throw new Error('events were lost');
    return emits / took / 1e6;
}

const seconds = Number(process.argv[2] || 0.5);
const result = {};
run(1, 1, seconds / 2); // the compiler has seen it
run(10, 4, seconds / 2);
for (const topics of [1, 4])
    for (const listeners of [1, 10])
        result[`node_${topics}_${listeners}`] = Number(run(listeners, topics, seconds).toFixed(2));
console.log(JSON.stringify(result));
