// ------------------------------------------------------------------------------------------------------- sound

// How an instrument sounds: the loudness of its partials; seconds of attack, decay (0: it holds) and release.
const PIANO = { partials: [1, 0.5, 0.25, 0.15, 0.09, 0.05, 0.03], attack: 0.004, decay: 0.8, release: 0.1, gain: 1 };
const MALLET = { partials: [1, 0.1, 0.3, 0.05], attack: 0.002, decay: 0.35, release: 0.2, gain: 1 };
const ORGAN = { partials: [1, 0.7, 0.3, 0.5, 0, 0.2, 0, 0.2], attack: 0.01, decay: 0, release: 0.05, gain: 0.45 };
const PLUCKED = { partials: [1, 0.6, 0.45, 0.25, 0.15, 0.1], attack: 0.003, decay: 0.45, release: 0.08, gain: 0.95 };
const BASS = { partials: [1, 0.55, 0.2, 0.08], attack: 0.005, decay: 1.1, release: 0.08, gain: 1.2 };
const STRINGS = { partials: [1, 0.5, 0.35, 0.25, 0.15, 0.1, 0.06], attack: 0.06, decay: 0, release: 0.16, gain: 0.42 };
const BRASS = { partials: [1, 0.8, 0.6, 0.4, 0.25, 0.15, 0.1], attack: 0.03, decay: 0, release: 0.08, gain: 0.4 };
const REED = { partials: [1, 0.15, 0.6, 0.1, 0.3, 0.08], attack: 0.025, decay: 0, release: 0.07, gain: 0.5 };
const PIPE = { partials: [1, 0.25, 0.08], attack: 0.04, decay: 0, release: 0.1, gain: 0.6 };
const PAD = { partials: [1, 0.4, 0.2, 0.12], attack: 0.12, decay: 0, release: 0.3, gain: 0.45 };
// General MIDI has sixteen families of eight programs.
// prettier-ignore
const FAMILIES = [PIANO, MALLET, ORGAN, PLUCKED, BASS, STRINGS, STRINGS, BRASS, REED, PIPE, REED, PAD, PAD, PLUCKED, MALLET, PAD];

/** A small synthesiser: every note is one oscillator of a few partials; drums are noise. */
class Synth {
  constructor() {
    this.voices = new Set();
    this.waves = new Map();
  }

  /** The audio context, made at the first sound: browsers want a person's act before. */
  get context() {
    if (!this.made) {
      this.made = new AudioContext({ latencyHint: "interactive" });
      this.meter = new AnalyserNode(this.made, { fftSize: 1024 });
      const even = new DynamicsCompressorNode(this.made, { threshold: -18, ratio: 6 });
      this.out = new GainNode(this.made, { gain: 0.3 });
      this.out.connect(even).connect(this.meter).connect(this.made.destination);
    }
    return this.made;
  }

  wave(instrument) {
    if (!this.waves.has(instrument)) {
      const sines = Float32Array.from([0, ...instrument.partials]);
      this.waves.set(instrument, this.context.createPeriodicWave(new Float32Array(sines.length), sines));
    }
    return this.waves.get(instrument);
  }

  /** Play a pitch from `when` to `until`, in seconds of the context. */
  play(pitch, velocity, when, until, part = {}) {
    if (part.drums) return this.drum(pitch, velocity, when);
    const instrument = FAMILIES[(part.program ?? 0) >> 3] ?? PIANO;
    const source = new OscillatorNode(this.context, { frequency: 440 * 2 ** ((pitch - 69) / 12) });
    source.setPeriodicWave(this.wave(instrument));
    const loud = instrument.gain * (velocity / 127) ** 1.5 * 0.6;
    const shape = new GainNode(this.context, { gain: 0 });
    shape.gain.setValueAtTime(0, when);
    shape.gain.linearRampToValueAtTime(loud, when + instrument.attack);

    // Low strings ring longer than high ones.
    const ring = instrument.decay * 2 ** ((60 - pitch) / 24);
    if (ring) shape.gain.setTargetAtTime(0, when + instrument.attack, ring);
    shape.gain.setTargetAtTime(0, Math.max(until, when + 0.04), instrument.release / 2);
    this.start(source, shape, when, Math.max(until, when + 0.04) + 4 * instrument.release);
  }

  /** Low drums are a falling tone, all others noise in a band. */
  drum(pitch, velocity, when) {
    const isLow = pitch === 35 || pitch === 36 || (pitch > 40 && pitch < 49 && pitch % 2 === 1);
    const length = isLow ? 0.16 : pitch === 38 || pitch === 40 ? 0.12 : pitch >= 49 ? 0.4 : 0.05;
    const shape = new GainNode(this.context, { gain: 0 });
    shape.gain.setValueAtTime((velocity / 127) * (isLow ? 1.1 : 0.35), when);
    shape.gain.setTargetAtTime(0, when, length / 3);
    if (isLow) {
      const tone = new OscillatorNode(this.context, { frequency: 120 });
      tone.frequency.setValueAtTime(pitch < 37 ? 120 : 80 + 5 * pitch, when);
      tone.frequency.exponentialRampToValueAtTime(pitch < 37 ? 45 : 90, when + 0.1);
      return this.start(tone, shape, when, when + 3 * length);
    }
    const noise = new AudioBufferSourceNode(this.context, { buffer: this.noise(), loop: true });
    const band = new BiquadFilterNode(this.context, { type: "bandpass", frequency: length === 0.12 ? 1800 : 7000, Q: 0.6 });
    noise.connect(band).connect(shape);
    this.start(noise, shape, when, when + 3 * length, band);
  }

  noise() {
    if (!this.hiss) {
      const rate = this.context.sampleRate;
      this.hiss = new AudioBuffer({ length: rate, sampleRate: rate });
      const samples = this.hiss.getChannelData(0);
      for (let i = 0; i < rate; i++) samples[i] = 2 * Math.random() - 1;
    }
    return this.hiss;
  }

  start(source, shape, when, end, through = source) {
    through.connect(shape).connect(this.out);
    source.start(when);
    source.stop(end);
    const voice = { source, shape };
    this.voices.add(voice);
    source.onended = () => {
      shape.disconnect();
      this.voices.delete(voice);
    };
  }

  /** End all that sounds or is planned, without a click. */
  hush() {
    for (const { source, shape } of this.voices) {
      shape.gain.cancelScheduledValues(0);
      shape.gain.setTargetAtTime(0, this.context.currentTime, 0.012);
      source.stop(this.context.currentTime + 0.08);
    }
    this.voices.clear();
  }

  /** One short note at once. */
  preview(pitch, part) {
    this.context.resume();
    const now = this.context.currentTime;
    this.play(pitch, 90, now, now + 0.25, part);
  }

  /** How loud it is now, 0 to 1: the tests listen here. */
  level() {
    if (!this.made) return 0;
    const samples = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(samples);
    return samples.reduce((loudest, sample) => Math.max(loudest, Math.abs(sample)), 0);
  }
}

const AHEAD = 0.15; // seconds for which notes are planned
const PLAYS = "pomkit-plays"; // told to all studios of a page: only one sounds

/** Plays the desk's notes, or the fine sound where that is wished, with loop and playhead. */
class Player {
  constructor(desk) {
    this.desk = desk;
    this.synth = new Synth();
    this.playing = false;
    this.at = 0; // the step where it stands while it does not play
    this.until = null; // the step where it stops by itself; null: at the end of the song
    this.legs = []; // each: from which time of the context on which second of the song sounds
    this.fine = null; // an AudioBuffer of FluidSynth's sound
    this.hushed = (event) => event.detail !== this && this.pause();
    window.addEventListener(PLAYS, this.hushed);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play(this.at >= this.end() - 1 ? 0 : this.at);
  }

  /** The step after the last one that sounds. */
  end() {
    return this.desk.song.width;
  }

  /** Play from a step on; with `until` it stops there, unless it loops. */
  play(step, until = null) {
    const context = this.synth.context;
    context.resume();
    window.dispatchEvent(new CustomEvent(PLAYS, { detail: this }));
    this.synth.hush();
    this.playing = true;
    this.until = until;
    this.desk.following = true;
    const second = this.desk.clock.second(clamp(step, 0, this.end()));
    this.legs = [{ time: context.currentTime + 0.02, second }];
    this.planned = second;
    this.chase(second, this.legs[0].time);
    this.plan();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.plan(), 40);
    this.desk.update();
  }

  pause() {
    if (!this.playing) return;
    this.at = this.position();
    this.playing = false;
    clearInterval(this.timer);
    this.synth.hush();
    this.stopFine();
    this.desk.update();
  }

  seek(step) {
    this.at = clamp(step, 0, this.end());
    if (this.playing) this.play(this.at);
    this.desk.update();
  }

  /** Other notes are shown: they sound from here on. */
  refresh() {
    if (this.playing && !this.fine) this.play(this.position(), this.until);
  }

  /** The step that sounds now. */
  position() {
    if (!this.playing) return this.at;
    const now = this.synth.context.currentTime;
    const begun = this.legs.filter((leg) => leg.time <= now);
    const leg = begun[begun.length - 1] ?? this.legs[0];
    return this.desk.clock.step(leg.second + Math.max(now - leg.time, 0));
  }

  /** Notes that began before the first step sound on from there. */
  chase(second, time) {
    if (this.fine) return this.playFine(second, time);
    const step = this.desk.clock.step(second);
    for (const note of this.desk.heard()) {
      if (note.onset < step && note.end > step + 0.5) this.sound(note, time, second);
    }
  }

  sound(note, time, second) {
    const until = time + this.desk.clock.second(note.end) - second;
    this.synth.play(note.pitch, note.velocity, time, until, this.desk.song.parts[note.part]);
  }

  /** Plan the notes of the next moment; at the end of the loop go back. */
  plan() {
    const { clock, loop } = this.desk;
    const context = this.synth.context;
    for (let turns = 0; turns < 20; turns++) {
      const leg = this.legs[this.legs.length - 1];
      const horizon = leg.second + context.currentTime + AHEAD - leg.time;
      const inLoop = loop && this.planned < clock.second(loop[1]) + 1e-6;
      const stop = clock.second(inLoop ? loop[1] : (this.until ?? this.end()));
      this.planUntil(Math.min(horizon, stop), leg);
      if (horizon < stop) return;
      if (!inLoop) {
        if (context.currentTime > leg.time + stop - leg.second) this.finish();
        return;
      }
      const back = { time: leg.time + stop - leg.second, second: clock.second(loop[0]) };
      this.legs = [...this.legs.slice(-3), back];
      this.planned = back.second;
      this.chase(back.second, back.time);
    }
  }

  planUntil(second, leg) {
    if (!this.fine) {
      for (const note of this.desk.heard()) {
        const at = this.desk.clock.second(note.onset);
        if (at >= second) break;
        if (at >= this.planned - 1e-9) this.sound(note, leg.time + at - leg.second, at);
      }
    }
    this.planned = Math.max(this.planned, second);
  }

  /** At the end of the song it goes back; where it stopped by itself it would go on. */
  finish() {
    this.pause();
    this.at = this.until ?? 0;
    if (this.until !== null) this.desk.showRegion();
    this.desk.update();
  }

  // FluidSynth's sound, made by the kernel

  async takeFine(bytes) {
    this.fine = await this.synth.context.decodeAudioData(bytesOf(bytes).buffer);
    if (this.wanted) this.play(...this.wanted);
    this.wanted = null;
  }

  dropFine() {
    if (!this.fine) return;
    const { playing } = this;
    this.pause();
    this.fine = null;
    if (playing) this.play(this.at, this.until);
  }

  playFine(second, time) {
    this.stopFine(time);
    this.track = new AudioBufferSourceNode(this.synth.context, { buffer: this.fine });
    this.loud ??= new GainNode(this.synth.context, { gain: 2.5 });
    this.track.connect(this.loud).connect(this.synth.out);
    this.track.start(time, clamp(second, 0, this.fine.duration));
  }

  stopFine(time = 0) {
    this.track?.stop(time);
    this.track = null;
  }

  close() {
    this.pause();
    window.removeEventListener(PLAYS, this.hushed);
    this.synth.made?.close();
  }
}
