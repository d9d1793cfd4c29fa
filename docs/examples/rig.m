function reason = rig(endpoint, jeromq)
%RIG A rig in MATLAB: copy this file, and put your screen and your neurons into `present`.
%
%   rig('tcp://127.0.0.1:5571', 'jeromq-0.6.0.jar')
%
% Needs JeroMQ (one jar, https://github.com/zeromq/jeromq) and nothing else. docs/PROTOCOL.md is the
% text that rules; its rules' numbers stand beside the code. Without keys: for an engine that has
% keys, set them with setCurvePublicKey, setCurveSecretKey and setCurveServerKey before `connect`.
% No test of the project runs this file; rig.mjs, beside it, is the same rig, and one does.

javaaddpath(jeromq);
context = org.zeromq.ZContext();
closing = onCleanup(@() context.close());
s = context.createSocket(javaMethod('valueOf', 'org.zeromq.SocketType', 'DEALER'));
name = ['matlab-rig/' char(java.util.UUID.randomUUID().toString())];
s.setIdentity(int8(name));          % section 1: a name, then something random
s.setImmediate(true);
s.setLinger(500);
s.setHeartbeatIvl(1000); s.setHeartbeatTimeout(5000); s.setHeartbeatTtl(5000);
s.connect(endpoint);

units = cell(1, 4);
for c = 1:4
    units{c} = struct('channel', int64(c - 1), 'unit', int64(0), 'area', 'IT', ...
        'label', sprintf('IT-%d', c - 1));
end
hello = struct('kind', 'hello', 'name', 'matlab rig', 'software', 'rig.m 1', ...
    'capabilities', {{'spikes'}}, 'units', {units}, ...
    'display', struct('width_px', int64(1920), 'height_px', int64(1080), ...
    'refresh_hz', 60, 'px_per_deg', 40), ...
    'window_ms', {{-200, 500}}, 'version', int64(1));

r = forgotten();
r.session = ''; r.window = [0 0]; r.welcomed = false; r.held = false; r.last_ns = int64(0);
clock = tic; heard = 0; said = -inf; reason = '';
while isempty(reason)
    if r.welcomed && toc(clock) - heard > 5     % rule 2
        r.welcomed = false; said = -inf;
    end
    if ~r.welcomed && toc(clock) - said >= 2    % rule 1; never waits, and may be repeated
        say(s, hello, {}); said = toc(clock);
    end
    while isempty(reason)
        frames = receive(s);
        if isempty(frames), break, end
        heard = toc(clock);
        m = unpack(frames{1});
        ours = r.welcomed && isfield(m, 'session') && strcmp(m.session, r.session);
        switch m.kind
            case 'welcome'
                if ~strcmp(m.session, r.session)
                    last = r.last_ns; r = forgotten(); r.last_ns = last;
                end
                r.session = m.session; r.window = [m.window_ms{:}];
                r.welcomed = true; r.held = false;
            case 'refused'
                reason = ['refused: ' m.reason];
            case 'end'
                say(s, struct('kind', 'bye', 'reason', 'the session is over'), {});
                reason = m.reason;
            case 'ack'
                for k = 1:numel(m.presentations)
                    p = m.presentations{k};
                    r = acknowledged(r, key_of(m.block, p.presentation), p.attempt);
                end
            case 'ping'
                if r.welcomed && ~ours, r.welcomed = false; said = -inf; end
            case 'hold'
                if ours, r.held = m.on; end
            case 'show'
                if ours, r = asked(s, r, m, frames(2:end)); end
        end
    end
    if ~isempty(reason), break, end
    if r.held || isempty(r.queue), pause(0.005); continue, end
    p = r.queue{1}; r.queue(1) = [];
    if strcmp(sha256(p.pixels), p.sha256)
        found = present(p, r.window);
        r.last_ns = found.trial.offset_ns;
    else                                        % never shown
        found.trial = struct('status', 'aborted', 'reason', 'digest', 'commanded_ns', r.last_ns, ...
            'onset_ns', r.last_ns, 'offset_ns', r.last_ns, 'onset_source', 'command');
        found.units = uint32([]); found.times = single([]);
    end
    found.block = p.block; found.presentation = p.presentation; found.attempt = p.attempt;
    r.kept(key_of(p.block, p.presentation)) = found;    % rule 3: until it is acknowledged
    if r.welcomed, respond(s, r, found); end
    r = done(s, r);
end
end

function found = present(p, window_ms)
% Show one image, and return what the neurons did. Yours to write.
image = permute(reshape(p.pixels, [3, p.shape(2), p.shape(1)]), [3 2 1]); %#ok<NASGU> h x w x 3 uint8
commanded = now_ns();
onset = now_ns();                               % when the image was on the screen
pause(p.on_ms / 1000);
offset = now_ns();
pause(p.off_ms / 1000);
n = randi([0 20]);
found.trial = struct('status', 'ok', 'reason', '', ...  % or 'aborted', 'fixation'
    'commanded_ns', commanded, 'onset_ns', onset, 'offset_ns', offset, 'onset_source', 'flip');
found.units = uint32(randi([0 3], 1, n));
found.times = single(window_ms(1) + diff(window_ms) * rand(1, n));
end

% ------------------------------------------------------------------ the conversation

function r = forgotten()
r = struct('queue', {{}}, 'kept', containers.Map(), 'safe', containers.Map(), ...
    'attempts', containers.Map('KeyType', 'int64', 'ValueType', 'any'), 'owed', int64([]));
end

function key = key_of(block, presentation)
key = sprintf('%d/%d', block, presentation);
end

function r = acknowledged(r, key, attempt)
if isKey(r.safe, key), attempt = max(attempt, r.safe(key)); end
r.safe(key) = attempt;
if isKey(r.kept, key) && r.kept(key).attempt <= attempt, remove(r.kept, key); end
end

function r = asked(s, r, m, frames)             % rules 4 and 5
again = {};
for k = 1:numel(m.presentations)
    p = m.presentations{k};
    key = key_of(m.block, p.presentation);
    waits = find(cellfun(@(q) strcmp(key_of(q.block, q.presentation), key), r.queue), 1);
    if isKey(r.kept, key) && r.kept(key).attempt > p.known_attempt
        again{end + 1} = r.kept(key);           %#ok<AGROW> sent again, not shown
    elseif isKey(r.safe, key) && m.attempt <= r.safe(key)
        continue                                % an old request
    elseif ~isempty(waits)
        r.queue{waits}.attempt = max(r.queue{waits}.attempt, m.attempt);
    else
        if p.known_attempt > 0, r = acknowledged(r, key, p.known_attempt); end
        p.block = m.block; p.attempt = m.attempt;
        p.sha256 = m.images{p.image + 1}.sha256;
        p.shape = double([m.images{p.image + 1}.shape{:}]);
        p.pixels = frames{p.image + 1};
        r.queue{end + 1} = p;
    end
end
[~, order] = sort(cellfun(@(q) double(q.block), r.queue));     % stable
r.queue = r.queue(order);
attempt = m.attempt;
if isKey(r.attempts, m.block), attempt = max(attempt, r.attempts(m.block)); end
r.attempts(m.block) = attempt;
r.owed = union(r.owed, m.block);
say(s, struct('kind', 'accepted', 'block', m.block, 'attempt', m.attempt), {});
for k = 1:numel(again), respond(s, r, again{k}); end
r = done(s, r);
end

function respond(s, r, found)
trial = struct('presentation', found.presentation, 'attempt', found.attempt);
for name = fieldnames(found.trial)', trial.(name{1}) = found.trial.(name{1}); end
n = int64(numel(found.units));
trial.length = n;
arrays = {struct('name', 'units', 'dtype', '<u4', 'shape', {{n}}), ...
    struct('name', 'times_ms', 'dtype', '<f4', 'shape', {{n}})};
message = struct('kind', 'response', 'block', found.block, ...
    'attempt', r.attempts(found.block), 'form', 'spikes', 'trials', {{trial}}, 'arrays', {arrays});
say(s, message, {typecast(found.units, 'uint8'), typecast(found.times, 'uint8')});
end

function r = done(s, r)
if ~r.welcomed, return, end
for block = r.owed(:)'
    if any(cellfun(@(q) q.block == block, r.queue)), continue, end
    r.owed = setdiff(r.owed, block);
    say(s, struct('kind', 'done', 'block', block, 'attempt', r.attempts(block)), {});
end
end

% ------------------------------------------------------------------ the socket

function say(s, message, arrays)
% Section 2: a header, then a frame an array. DONTWAIT (1): without an engine it is dropped, and
% asked for again; SNDMORE is 2.
frames = [{pack(message)}, arrays];
for k = 1:numel(frames)
    more = 2 * (k < numel(frames));
    if ~s.send(typecast(uint8(frames{k}(:)'), 'int8'), 1 + more), return, end
end
end

function frames = receive(s)
frames = {};
bytes = s.recv(1);                              % DONTWAIT
while ~isempty(bytes) || ~isempty(frames)
    frames{end + 1} = typecast(int8(bytes(:)'), 'uint8');      %#ok<AGROW>
    if ~s.hasReceiveMore(), return, end
    bytes = s.recv(0);
end
end

function ns = now_ns()
ns = int64(java.lang.System.nanoTime());        % never goes back
persistent zero
if isempty(zero), zero = ns; end
ns = ns - zero;                                 % not below 0
end

function hex = sha256(bytes)
digest = java.security.MessageDigest.getInstance('SHA-256');
hex = sprintf('%02x', typecast(digest.digest(typecast(bytes, 'int8')), 'uint8'));
end

% ------------------------------------------------------------------ MessagePack

function b = pack(v)
% Structs are maps, cells are arrays, int64 are integers, doubles are floats.
if islogical(v)
    b = uint8(194 + v);
elseif isinteger(v)
    b = [uint8(211), big(int64(v))];
elseif isfloat(v)
    b = [uint8(203), big(double(v))];
elseif ischar(v)
    text = unicode2native(v, 'UTF-8');
    b = [uint8(219), big(uint32(numel(text))), text];
elseif iscell(v)
    parts = cellfun(@pack, v(:)', 'UniformOutput', false);
    b = [uint8(221), big(uint32(numel(v))), parts{:}];
else
    names = fieldnames(v)';
    parts = cellfun(@(n) [pack(n), pack(v.(n))], names, 'UniformOutput', false);
    b = [uint8(223), big(uint32(numel(names))), parts{:}];
end
end

function bytes = big(v)
bytes = typecast(swapbytes(v), 'uint8');
end

function v = unpack(bytes)
[v, ~] = value(bytes, 1);
end

function [v, i] = value(b, i)
c = double(b(i)); i = i + 1;
if c < 128, v = int64(c);
elseif c < 144, [v, i] = map(b, i, c - 128);
elseif c < 160, [v, i] = list(b, i, c - 144);
elseif c < 192, [v, i] = text(b, i, c - 160);
elseif c >= 224, v = int64(c - 256);
else
    switch c
        case 192, v = [];
        case {194, 195}, v = c == 195;
        case 202, [v, i] = number(b, i, 'single'); v = double(v);
        case 203, [v, i] = number(b, i, 'double');
        case {204, 205, 206, 207}
            kinds = {'uint8', 'uint16', 'uint32', 'uint64'};
            [v, i] = number(b, i, kinds{c - 203}); v = int64(v);
        case {208, 209, 210, 211}
            kinds = {'int8', 'int16', 'int32', 'int64'};
            [v, i] = number(b, i, kinds{c - 207}); v = int64(v);
        case {217, 218, 219}
            kinds = {'uint8', 'uint16', 'uint32'};
            [n, i] = number(b, i, kinds{c - 216}); [v, i] = text(b, i, double(n));
        case {220, 221}
            kinds = {'uint16', 'uint32'};
            [n, i] = number(b, i, kinds{c - 219}); [v, i] = list(b, i, double(n));
        case {222, 223}
            kinds = {'uint16', 'uint32'};
            [n, i] = number(b, i, kinds{c - 221}); [v, i] = map(b, i, double(n));
        otherwise, error('rig:msgpack', 'MessagePack code %d is not used by the protocol', c)
    end
end
end

function [v, i] = number(b, i, kind)
n = numel(typecast(cast(0, kind), 'uint8'));
v = swapbytes(typecast(b(i:i + n - 1), kind)); i = i + n;
end

function [v, i] = text(b, i, n)
v = native2unicode(b(i:i + n - 1), 'UTF-8'); i = i + n;
end

function [v, i] = list(b, i, n)
v = cell(1, n);
for k = 1:n, [v{k}, i] = value(b, i); end
end

function [v, i] = map(b, i, n)
v = struct();
for k = 1:n
    [name, i] = value(b, i);
    [v.(name), i] = value(b, i);
end
end
