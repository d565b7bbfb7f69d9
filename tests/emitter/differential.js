// differential.js SCRIPTS TRACES: runs each script of operations on Node's own emitter and writes what happened, one line
// each. differential.c made the scripts, runs them on local:, and compares. What an operation is, is said there.
'use strict';
const { EventEmitter } = require('events');
const fs = require('fs');

const OPS_MAX = 300, DEPTH_MAX = 4;
const TOPICS = ['a', 'b', 'c', 'd', 'e', 'error', EventEmitter.errorMonitor, 'newListener', 'removeListener'];
const nameOf = (topic) => typeof topic === 'symbol' ? '$errorMonitor' : topic;
const idOf = (listener) => (listener.listener || listener).id;

let trace, unheard, wiping, last;

process.on('uncaughtException', (error) => { if (error.message !== 'failed') { console.error(error); process.exit(1); } unheard = true; });
process.on('unhandledRejection', (error) => { if (error.message !== 'failed') { console.error(error); process.exit(1); } unheard = true; });
process.emitWarning = (warning) => {
    if (!wiping)
        trace.push(`warn(${nameOf(warning.type)},${warning.count})`);
};

function makeScript(script) {
    const emitter = new EventEmitter({ captureRejections: true });
    let ops = 0, depth = 0, special = 0, rejected = false;

    const handlers = script.h.map((plan, index) => {
        const handler = (...args) => {
            const about = args.length === 2;
            trace.push(about ? `h${index}(${nameOf(args[0])},h${idOf(args[1])})` : `h${index}@${args[0] instanceof Error ? 'error' : args[0]}`);
            special += about;
            if (depth < DEPTH_MAX) {
                depth++;
                plan.a.forEach(run);
                depth--;
            }
            special -= about;
            if (!plan.f)
                return undefined;
            rejected = true;
            return Promise.reject(new Error('failed'));
        };
        handler.id = index;
        return handler;
    });

    const shown = {
        on: (t, h) => { emitter.on(t, h); },
        prepend: (t, h) => { emitter.prependListener(t, h); },
        once: (t, h) => { emitter.once(t, h); },
        prependOnce: (t, h) => { emitter.prependOnceListener(t, h); },
        off: (t, h) => { emitter.off(t, h); },
        removeAll: (t) => { emitter.removeAllListeners(t); },
        wipe: () => { wiping++; emitter.removeAllListeners(); wiping--; },
        emit: (t) => {
            let result = 'emit!';
            try {
                result = `emit=${emitter.emit(t, t === 'error' ? new Error('emitted') : t)}`;
            } catch {
                // nobody listens to "error"
            }
            if (depth === 0)
                last = result; // on local: it returns when what failed has been told: see below
            else
                trace.push(result);
        },
        count: (t) => { trace.push(`n=${emitter.listenerCount(t)}`); },
        countOf: (t, h) => { trace.push(`n=${emitter.listenerCount(t, h)}`); },
        names: () => { trace.push(`names=${emitter.eventNames().map(nameOf).join(',')}`); },
        listeners: (t) => { trace.push(`l=${emitter.listeners(t).map(idOf).join(',')}`); },
        raw: (t) => {
            trace.push(`r=${emitter.rawListeners(t).map((l) => l.listener ? '*' : idOf(l)).join(',')}`);
        },
        max: (t, h) => { emitter.setMaxListeners(h.id); },
    };
    const changes = ['prepend', 'prependOnce', 'off', 'removeAll', 'wipe', 'emit'];

    function run([op, topic, handler]) {
        if (++ops > OPS_MAX || (special > 0 && changes.includes(op)))
            return;
        shown[op](TOPICS[topic], handlers[handler]);
    }

    return async () => {
        trace = [];
        wiping = 0;
        for (const operation of script.o) {
            unheard = rejected = false;
            last = undefined;
            run(operation);
            if (rejected) {
                do { // what was rejected is told on a later tick, and may reject again
                    rejected = false;
                    await new Promise(setImmediate);
                } while (rejected);
            }
            if (last)
                trace.push(last);
            if (unheard)
                trace.push('unheard');
            trace.push(';');
        }
        return trace.join(' ');
    };
}

(async () => {
    const [, , from, to] = process.argv;
    const out = [];
    for (const line of fs.readFileSync(from, 'utf8').split('\n'))
        if (line)
            out.push(await makeScript(JSON.parse(line))());
    fs.writeFileSync(to, out.join('\n') + '\n');
})();
