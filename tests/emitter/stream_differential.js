// stream_differential.js SCRIPTS TRACES: runs each script on Node's own streams and writes what happened, one line each.
// stream_differential.c made the scripts, runs them on crier's streams, and compares. What an operation is, is said there.
'use strict';
const { Readable, Writable, Duplex, Transform, pipeline, finished } = require('stream');
const fs = require('fs');

const READS_MAX = 12;

const EVENTS = ['end', 'drain', 'finish', 'error', 'close', 'pause', 'resume', 'pipe', 'unpipe'];
const CODES = {
    ERR_STREAM_PUSH_AFTER_EOF: 'inval', ERR_STREAM_WRITE_AFTER_END: 'inval',
    ERR_STREAM_UNSHIFT_AFTER_END_EVENT: 'inval', ERR_MULTIPLE_CALLBACK: 'inval',
    ERR_STREAM_PREMATURE_CLOSE: 'closed', ERR_STREAM_DESTROYED: 'closed', ABORT_ERR: 'canceled',
};
const nameOf = (error) => (error ? CODES[error.code] || error.message : 'ok');

function runScript(script, done) {
    const trace = [];
    const say = (text) => { if (trace.length < 400) trace.push(text); };
    let bytes = 0, ops = 0;
    const make = (size) => { const b = Buffer.alloc(size); for (let i = 0; i < size; i++) b[i] = bytes++ & 255; return b; };
    const show = (c) => `${c.length}:${c.length ? c[0] : ''}`;
    const later = (when, call) => { when === 0 ? call() : when === 1 ? process.nextTick(call) : setImmediate(call); };

    const streams = script.s.map((config, index) => {
        let reads = 0, writes = 0;
        const me = `s${index}`;
        const pushes = (stream, plan) => { // sizes; 0: the end
            for (const size of plan.p) {
                if (size === 0) {
                    stream.push(null);
                    return;
                }
                say(`${me}.push=${stream.push(make(size))}`);
            }
        };
        const fail = (plan) => (plan.e ? new Error(`E${plan.e}`) : null);
        const options = {
            objectMode: !!script.i, readableHighWaterMark: config.r, writableHighWaterMark: config.w, allowHalfOpen: !config.b,
            highWaterMark: config.t === 1 ? config.r : config.t === 2 ? config.w : undefined,
            destroy(error, callback) { say(`${me}.destroy(${nameOf(error)})`); later(config.d, () => callback(error)); },
        };
        if (config.t === 1 || config.t === 3)
            options.read = function(size) {
                const plan = config.R[reads++ % config.R.length];
                say(`${me}.read`);
                later(plan.w, () => { reads > READS_MAX ? this.push(null) : plan.e ? this.destroy(fail(plan)) : pushes(this, plan); });
            };
        if (config.t === 2 || config.t === 3)
            options.write = (chunk, encoding, callback) => {
                const plan = config.W[writes++ % config.W.length];
                say(`${me}.write(${show(chunk)})`);
                later(plan.w, () => callback(fail(plan)));
            };
        if ((config.t === 2 || config.t === 3) && config.f >= 0)
            options.final = (callback) => { say(`${me}.final`); later(config.f, callback); };
        if (config.t === 7) {
            options.transform = function(chunk, encoding, callback) {
                const plan = config.W[writes++ % config.W.length];
                say(`${me}.transform(${show(chunk)})`);
                later(plan.w, () => { if (!plan.e) pushes(this, plan); callback(fail(plan)); });
            };
            if (config.f >= 0)
                options.flush = function(callback) {
                    say(`${me}.flush`);
                    later(config.f, () => { if (!this.destroyed) this.push(make(1)); callback(); });
                };
        }
        const stream = new { 1: Readable, 2: Writable, 3: Duplex, 7: Transform }[config.t](options);
        stream.index = index;
        const hooks = {};
        stream.hook = (event) => {
            const told = hooks[event] = (hooks[event] || 0) + 1;
            for (const [kind, nth, op] of config.h)
                if (kind === event && nth === told)
                    run(op);
        };
        for (const event of EVENTS)
            stream.on(event, (about) => {
                say(`${me}.${event}${event === 'error' ? `(${nameOf(about)})` : event.endsWith('pipe') ? `(s${about.index})` : ''}`);
                stream.hook(event);
            });
        stream.onData = (chunk) => { say(`${me}.data(${show(chunk)})`); stream.hook('data'); };
        stream.onReadable = () => {
            say(`${me}.readable`);
            for (let i = 0; i < config.n; i++) {
                const chunk = stream.read();
                say(`${me}.got(${chunk ? show(chunk) : '-'})`);
                if (!chunk)
                    break;
            }
            stream.hook('readable');
        };
        return stream;
    });

    const operations = {
        write: (s, n) => { say(`write=${s.write(make(n))}`); },
        end: (s) => { s.end(); },
        push: (s, n) => { say(`push=${s.push(make(n))}`); },
        eof: (s) => { s.push(null); },
        unshift: (s, n) => { say(`unshift=${s.unshift(make(n))}`); },
        read: (s, n) => { const c = n === 9 ? s.read() : s.read(n); say(`read=${c ? show(c) : '-'}`); },
        resume: (s) => { s.resume(); },
        pause: (s) => { s.pause(); },
        onData: (s) => { s.on('data', s.onData); },
        offData: (s) => { s.off('data', s.onData); },
        onReadable: (s) => { s.on('readable', s.onReadable); },
        offReadable: (s) => { if (s.listenerCount('readable')) s.off('readable', s.onReadable); },
        pipe: (s, n, e) => { s.pipe(streams[n], { end: !!e }); },
        unpipe: (s, n) => { s.unpipe(streams[n]); },
        unpipeAll: (s) => { s.unpipe(); },
        destroy: (s, n) => { s.destroy(n ? new Error(`E${n}`) : undefined); },
        finished: (s) => {
            new Promise((resolve) => finished(s, resolve)).then((error) => say(`finished=${nameOf(error)}`));
        },
        pipeline: (s, n) => {
            new Promise((resolve) => pipeline(streams.slice(s.index, n + 1), resolve)).then((error) => say(`pipeline=${nameOf(error)}`));
        },
        state: (s) => {
            const flow = s._readableState ? (s.readableFlowing === null ? 'n' : s.readableFlowing ? 'y' : 'f') : 'n';
            say(`state=${s._readableState ? s.readableLength : 0},${s._writableState ? s.writableLength : 0},${flow},` +
                `${+!!(s._writableState && s.writableNeedDrain)}`);
        },
    };
    function run([name, stream, n, e]) {
        if (++ops > 200)
            return;
        operations[name](streams[stream], n, e);
    }

    let turn = 0, wait = 0;
    function step() {
        if (wait > 0) {
            wait--;
        } else if (turn < script.o.length) {
            for (const op of script.o[turn++])
                run(op);
            say(';');
            wait = turn === script.o.length ? 30 : 3;
        } else {
            streams.forEach((s, i) => operations.state(s));
            done(trace.join(' '));
            return;
        }
        setImmediate(step);
    }
    setImmediate(step);
}

const [, , from, to] = process.argv;
const lines = fs.readFileSync(from, 'utf8').split('\n').filter((line) => line);
const out = [process.versions.node];
(function next() {
    if (out.length > lines.length) {
        fs.writeFileSync(to, out.join('\n') + '\n');
        return;
    }
    runScript(JSON.parse(lines[out.length - 1]), (trace) => { out.push(trace); next(); });
})();
