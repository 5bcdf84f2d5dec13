"""Slips that students make: what the visible check of every exercise must refuse, with words.

A slip is what it is called, a piece of the solution, and what stands there instead (everywhere).
A forgotten `return` is planted in every exercise besides.
"""

from __future__ import annotations

FORGOTTEN = "a forgotten return"

# fmt: off
SLIPS: dict[str, list[tuple[str, str, str]]] = {
    "e01-1": [
        ("half the brightness", "pitch, velocity)", "pitch, velocity // 2)"),
        ("onset and duration exchanged", "picture, onset, duration,", "picture, duration, onset,"),
        ("one step too long", "picture, onset, duration,", "picture, onset, duration + 1,"),
        ("a semitone too high", "pitch, velocity)", "pitch + 1, velocity)"),
        ("only the first note", "    return picture", "        return picture"),
        ("a width of its own", "(128, width, 3)", "(128, 32, 3)"),
    ],
    "e01-2": [
        ("the finest part", "next(g for g in (1, 2, 3, 4, 6, 8, 12, 24) if all(g % division == 0 "
         "for division in divisions))", "max(divisions)"),
        ("any for all", "if all(", "if any("),
        ("the finest grid", "(1, 2, 3, 4, 6, 8, 12, 24)", "(24, 12, 8, 6, 4, 3, 2, 1)"),
        ("times the grid", "bpm / grid", "bpm * grid"),
        ("exchanged", "grid, 60000 / bpm / grid", "60000 / bpm / grid, grid"),
        ("seconds", "60000", "60"),
    ],
    "e01-3": [
        ("no copy", "picture.copy()", "picture"),
        ("the end for the duration", "onset:onset + duration", "onset:duration"),
        ("seven rows", "out[:8,", "out[:7,"),
        ("sixteen rows", "out[120:,", "out[112:,"),
        ("one step too short", "onset + duration]", "onset + duration - 1]"),
    ],
    "e01-4": [
        ("the mean brightness", "(pages > 0).mean()", "pages.mean()"),
        ("per cent", "(pages > 0).mean()", "100 * (pages > 0).mean()"),
        ("a number, no share", "(pages > 0).mean()", "(pages > 0).sum()"),
        ("the dark ones", "pages > 0", "pages == 0"),
        ("one song only", "in songs]", "in songs[:1]]"),
    ],
    "e02-1": [
        ("one side", "2 * ((width", "((width"),
        ("itself, too", "// hop)", "// hop) + 1"),
        ("off by one", "width - 1", "width + 1"),
        ("one hop too few", "((width - 1) // hop)", "(width // hop - 1)"),
        ("hops, not windows", "((width - 1) // hop)", "hop"),
    ],
    "e02-2": [
        ("one key too high", "range(-6, 6)", "range(-5, 7)"),
        ("upwards only", "range(-6, 6)", "range(12)"),
        ("one key", "transpose(semitones)", "transpose(1)"),
        ("whole tones", "transpose(semitones)", "transpose(2 * semitones)"),
        ("half of them", "range(-6, 6)", "range(6)"),
    ],
    "e02-3": [
        ("pitches as they are", "pitch[order] - pitch[order][0]", "pitch[order]"),
        ("onsets as they are", "onset[order] - onset.min()", "onset[order]"),
        ("durations as well", "pitch[order] - pitch[order][0]",
         "pitch[order] - pitch[order][0], song.notes[\"duration\"][order]"),
        ("rhythm alone", ", pitch[order] - pitch[order][0]", ""),
        ("how many notes", "hash(np.stack([onset[order] - onset.min(), "
         "pitch[order] - pitch[order][0]]).tobytes())", "len(onset)"),
        ("an array", "hash(np.stack([onset[order] - onset.min(), "
         "pitch[order] - pitch[order][0]]).tobytes())", "onset[order]"),
    ],
    "e03-1": [
        ("a forgotten square", ") ** 2", ")"),
        ("sign", "denoiser(x, sigma) - x", "x - denoiser(x, sigma)"),
        ("a cube", ") ** 2", ") ** 3"),
        ("times for by", ") / sigma", ") * sigma"),
        ("no difference", "(denoiser(x, sigma) - x)", "denoiser(x, sigma)"),
    ],
    "e03-2": [
        ("a root", "alpha_bar / (1 - alpha_bar)", "(alpha_bar / (1 - alpha_bar)) ** 0.5"),
        ("the other way round", "alpha_bar / (1 - alpha_bar)", "(1 - alpha_bar) / alpha_bar"),
        ("a square", "/ (1 - alpha_bar)", "/ (1 - alpha_bar) ** 2"),
        ("no numerator", "alpha_bar / (", "1 / ("),
        ("sign", "return ", "return -"),
    ],
    "e03-3": [
        ("nats", "torch.log2(", "torch.log("),
        ("e for 2", "2**along", "along.exp()"),
        ("mean over cells", "log2_probs.sum(1)", "log2_probs.mean(1)"),
        ("wrong axis", "log2_probs.sum(1)", "log2_probs.sum(0)"),
        ("sum over orders", "(2**along).mean()", "(2**along).sum()"),
        ("sign", "-torch.log2", "torch.log2"),
    ],
    "e03-4": [
        ("no logarithm", "prior.log()", "prior"),
        ("a forgotten square", "sigma**2", "sigma"),
        ("a forgotten 2", "(2 * sigma**2)", "sigma**2"),
        ("sign", "- away", "+ away"),
        ("no network", "F + ", ""),
    ],
    "e04-1": [
        ("steps first", "(ph pw c)", "(pw ph c)"),
        ("channels first", "(ph pw c)", "(c ph pw)"),
        ("the patch outside", "(h ph)", "(ph h)"),
        ("the step outside", "(w pw)", "(pw w)"),
        ("exchanged axes", "b h w (ph", "b w h (ph"),
    ],
    "e04-2": [
        ("no residual", "return x + ", "return "),
        ("wrong axis", "softmax(-1)", "softmax(-2)"),
        ("no length 1", "F.normalize(z, dim=-1)", "z"),
        ("no norm", "a.norm(x, cond)", "x"),
        ("keys for queries", "q, k, v =", "k, v, q ="),
    ],
    "e04-3": [
        ("halves", "tokens //= 4", "tokens //= 2"),
        ("a forgotten square", "level.window**2", "level.window"),
        ("down only", "(1 if i == len(config.levels) - 1 else 2)", "1"),
        ("the waist twice", "(1 if i == len(config.levels) - 1 else 2)", "2"),
        ("a layer a level", "level.depth * ", ""),
        ("one token's pairs", " * tokens * seen_by_one", " * seen_by_one"),
    ],
    "e05-1": [
        ("nats", "np.log2", "np.log"),
        ("empty states", "p = p[p > 0]", "p = p"),
        ("sign", "-(p *", "(p *"),
        ("counts for shares", " / np.sum(counts)", ""),
        ("mean", ".sum())", ".mean())"),
        ("no weights", "(p * np.log2(p))", "(np.log2(p))"),
    ],
    "e05-2": [
        ("an exponent of .5", "-0.75", "-0.5"),
        ("an exponent of 1", "-0.75", "-1.0"),
        ("off by one", "(1 + step)", "(2 + step)"),
        ("max for min", "min(0.9999,", "max(0.9999,"),
        ("no limit", "min(0.9999, 1 - (1 + step) ** -0.75)", "1 - (1 + step) ** -0.75"),
        ("a fixed rate", "min(0.9999, 1 - (1 + step) ** -0.75)", "0.9999 if step else 0.0"),
    ],
    "e05-3": [
        ("a forgotten square", "c_skip**2 * sigma**2", "c_skip**2 * sigma"),
        ("a forgotten square of the clean share", "(1 - c_skip) ** 2", "(1 - c_skip)"),
        ("c_skip once", "c_skip**2 *", "c_skip *"),
        ("the wrong numerator", "c_skip = sigma_data**2 /", "c_skip = sigma**2 /"),
        ("no mean square", "* m2", "* sigma_data**2"),
    ],
    "e06-1": [
        ("sign of the slope", "x - denoised", "denoised - x"),
        ("sign of the step", "after - sigma", "sigma - after"),
        ("not by sigma", "(x - denoised) / sigma", "(x - denoised)"),
        ("all the way", "(after - sigma)", "after"),
        ("a square", "/ sigma", "/ sigma**2"),
    ],
    "e06-2": [
        ("the largest error", "min(error", "max(error"),
        ("differences with a sign", ".abs()", ""),
        ("always 16 levels", "karras_sigmas(calls,", "karras_sigmas(16,"),
        ("another method", "sample_euler", "sample_heun"),
        ("the error for the rho", "min(error, key=error.get)", "min(error.values())"),
        ("rhos of its own", "for each in rhos", "for each in (1, 3, 7, 10, 20)"),
    ],
    "e06-3": [
        ("steps for bars", "step // 16 % 2", "step % 2"),
        ("one after another", "step // 16 % 2", "step // 16"),
        ("the gaps first", "step // 16 % 2", "1 - step // 16 % 2"),
        ("half bars", "step // 16", "step // 8"),
        ("off by one", "step // 16", "(step + 1) // 16"),
    ],
    "e06-4": [
        ("x as it is", "denoiser(x / (1 - t), sigma)", "denoiser(x, sigma)"),
        ("t for sigma", "t / (1 - t))", "t)"),
        ("towards the picture", "(x - denoised) / t", "(denoised - x) / t"),
        ("not divided", "(x - denoised) / t", "x - denoised"),
        ("divided by sigma", "(x - denoised) / t", "(x - denoised) / (t / (1 - t))"),
    ],
    "e07-1": [
        ("a forgotten square", "DEVIATION**2", "DEVIATION"),
        ("the noise's forgotten square", "sigma**2", "sigma"),
        ("exchanged weights", "MEAN * sigma**2 + x * v", "MEAN * v + x * sigma**2"),
        ("not divided", " / (sigma**2 + v)", ""),
        ("halves", "(MEAN * sigma**2 + x * v) / (sigma**2 + v)", "(MEAN + x) / 2"),
    ],
    "e07-2": [
        ("no squares", "(up**2 - sigma**2) ** 0.5", "(up - sigma)"),
        ("no root", "(up**2 - sigma**2) ** 0.5", "(up**2 - sigma**2)"),
        ("all of it again", "(up**2 - sigma**2) ** 0.5", "up"),
        ("sign", "up**2 - sigma**2", "up**2 + sigma**2"),
        ("without x", "return x + ", "return "),
    ],
    "e07-3": [
        ("pitch before step", "[(32, 52), (80, 76), (128, 84), (176, 76), (224, 52)]",
         "[(52, 32), (76, 80), (84, 128), (76, 176), (52, 224)]"),
        ("too broad", "radius=4", "radius=40"),
        ("the top too early", "(80, 76), (128, 84), (176, 76)", "(64, 84), (128, 68)"),
        ("rows for pitches", "(32, 52), (80, 76), (128, 84), (176, 76), (224, 52)",
         "(32, 75), (80, 51), (128, 43), (176, 51), (224, 75)"),
        ("half as wide", "stroke(256,", "stroke(128,"),
        ("an area", "masks.stroke(256, [(32, 52), (80, 76), (128, 84), (176, 76), (224, 52)], "
         "radius=4)", "masks.polygon(256, [(32, 52), (80, 76), (128, 84), (176, 76), (224, 52)])"),
    ],
    "e07-4": [
        ("white keys only", "~torch.isin", "torch.isin"),
        ("a row off", "127 - torch", "128 - torch"),
        ("sign", "-60.0 *", "60.0 *"),
        ("too weak", "-60.0 *", "-0.5 *"),
        ("none at all", "-60.0 * white", "-60.0 * torch.ones_like(white)"),
    ],
    "e07-5": [
        ("beyond by one", "return untold +", "return told +"),
        ("the other way", "(told - untold)", "(untold - told)"),
        ("no difference", "g * (told - untold)", "g * told"),
        ("a mean", "untold + g * (told - untold)", "(untold + g * told) / (1 + g)"),
        ("exchanged", "untold + g * (told - untold)", "told + g * (untold - told)"),
    ],
    "e09-1": [
        ("numbers for shares", " / len(values)", ""),
        ("the larger ones", "np.minimum", "np.maximum"),
        ("mean", ".sum())", ".mean())"),
        ("divided by the first", "len(values)", "len(a)"),
        ("a product", "np.minimum(p, q)", "(p * q)"),
    ],
    "e09-2": [
        ("shares for per cent", "[2.5, 97.5]", "[0.025, 0.975]"),
        ("nine of ten", "[2.5, 97.5]", "[5, 95]"),
        ("wrong axis", "mean(axis=1)", "mean(axis=0)"),
        ("sign", "np.asarray(ours) - np.asarray(theirs)", "np.asarray(theirs) - np.asarray(ours)"),
        ("songs, not means", ".mean(axis=1)", ""),
    ],
    "e10-1": [
        ("no weights above", "+= weight * answer", "+= answer"),
        ("no weights at all", "below[start:start + w] += weight\n    return above / below",
         "below[start:start + w] += 1\n    return above / below"),
        ("written over", "above[start:start + w] +=", "above[start:start + w] ="),
        ("upside down", "above / below", "below / above"),
        ("only below", "weight * answer", "weight"),
    ],
    "e10-2": [
        ("the height", "rows * patch[1]", "height"),
        ("the wrong side", "rows * patch[1]", "rows * patch[0]"),
        ("one token", "rows * patch[1]", "patch[1]"),
        ("rows for tokens", "rows * patch[1]", "height * patch[1]"),
        ("off by one", "rows * patch[1]", "rows * patch[1] - 1"),
    ],
    "e10-3": [
        ("off by one", "bar - gap + 1", "bar - gap"),
        ("a bar too near", "bar - gap + 1", "bar - gap + 2"),
        ("no gap", ":bar - gap + 1]", ":bar]"),
        ("begins late", "range(first, ", "range(first + 1, "),
        ("a mean likeness", "].max() > threshold", "].max()"),
        ("a fixed threshold", "> threshold", "> 0.5"),
    ],
    "e11-1": [
        ("songs for names", "[song.name for", "[song for"),
        ("the others", "in known]", "not in known]"),
        ("known by itself", "for song in train}", "for song in test}"),
        ("of the training songs", "[song.name for song in test", "[song.name for song in train"),
        ("fingerprints", "[song.name for", "[fingerprint(song) for"),
    ],
    "e11-2": [
        ("off by one", "i - best >= patience", "i - best > patience"),
        ("ties begin anew", "loss < losses[best]", "loss <= losses[best]"),
        ("never stops", "break", "pass"),
        ("the loss for its index", "return best", "return losses[best]"),
        ("the highest", "loss < losses[best]", "loss > losses[best]"),
    ],
    "e11-3": [
        ("return len(a)", "return best + 1", "return len(a)"),
        ("intervals for notes", "return best + 1", "return best"),
        ("pitches for intervals", "np.diff(a).tolist(), np.diff(b).tolist()", "list(a), list(b)"),
        ("up or down alike", "np.diff(a).tolist(), np.diff(b).tolist()",
         "np.abs(np.diff(a)).tolist(), np.abs(np.diff(b)).tolist()"),
        ("off by one", "len(y)) + 1)", "len(y)))"),
    ],
    "e12-1": [
        ("no limit", "return None", "pass"),
        ("the wrong way", "text + semitones", "text - semitones"),
        ("a limit too low", "pitches.max() < system.ROW_COUNT", "pitches.max() < 63"),
        ("the other words", "np.where(is_strike, text + semitones, text)",
         "np.where(is_strike, text, text + semitones)"),
        ("as it was", "np.where(is_strike, text + semitones, text)", "text"),
    ],
    "e12-2": [
        ("the latest drawn cell", ".min()", ".max()"),
        ("the other way round", "return not", "return"),
        ("earlier ones", "order > order", "order < order"),
        ("drawn ones", "~mask &", "mask &"),
        ("all for any", ".any())", ".all())"),
    ],
    "e12-3": [
        ("always both", "0.5 * ", ""),
        ("not given", " / joint[:, b].sum()", ""),
        ("exchanged", "step[a, b, :, b]", "step[a, b, :, a]"),
        ("one cell only", "            step[a, b, a, :] += 0.5 * joint[a] / joint[a].sum()\n", ""),
        ("both at once", "0.5 * joint[a] / joint[a].sum()",
         "0.5 * joint[:, a] / joint[:, a].sum()"),
    ],
    "e12-4": [
        ("tells too often", "            request.tell(cells)",
         "            request.tell(cells)\n            request.tell(cells)"),
        ("never tells", "            request.tell(cells)\n", ""),
        ("redraws what is known", "torch.where(mask[:, column], drawn, cells[:, :, column])",
         "drawn"),
        ("the column itself", "table.share[table.contexts_of(cells)[:, :, column]]",
         "table.share[table.contexts_of(cells * 0)[:, :, column]]"),
        ("one column", ".tolist():", ".tolist()[:1]:"),
    ],
    "e13-1": [
        ("one frequency wide", "while 4 * SOUND_RATE", "while SOUND_RATE"),
        ("twice too long", "return size", "return 2 * size"),
        ("a whole tone", "hertz(pitch + 1) - hertz(pitch)", "hertz(pitch + 2) - hertz(pitch)"),
        ("no power of two", "size *= 2", "size += 2"),
        ("a float", "size = 2\n", "size = 2.0\n"),
    ],
    "e13-2": [
        ("off by one", "/ step)) - 1", "/ step))"),
        ("bins for steps", "(bins + 1)", "bins"),
        ("from 0 Hz", "mel(frequency) - mel(30)", "mel(frequency)"),
        ("in hertz", "return 2595 * np.log10(1 + f / 700)", "return f"),
        ("off by one below", "/ step)) - 1", "/ step)) - 2"),
    ],
    "e13-3": [
        ("sizes only", "(again - waves).abs()", "(again.abs() - waves.abs())"),
        ("no root", ".square().sum().sqrt() / waves.abs().square().sum().sqrt()",
         ".square().sum() / waves.abs().square().sum()"),
        ("not a share", " / waves.abs().square().sum().sqrt()", ""),
        ("a sum", "again - waves", "again + waves"),
        ("a tensor", "return float(", "return ("),
    ],
    "e13-4": [
        ("precision", "2 * right / (len(true) + len(found))", "right / len(found)"),
        ("recall", "2 * right / (len(true) + len(found))", "right / len(true)"),
        ("a forgotten 2", "2 * right", "right"),
        ("no tolerance", "<= tolerance + 1e-9", "<= 0"),
        ("anywhere", "abs(a[0] - b[0]) <= tolerance + 1e-9", "True"),
    ],
}
# fmt: on


def with_slips(name: str, answer: str) -> dict[str, str]:
    """The answers of an exercise, each with one slip, by what the slip is called.

    Raises:
        ValueError: a slip's piece does not stand in the solution.
    """
    head, _, last = answer.rpartition("return ")
    slips = {FORGOTTEN: f"{head}_ = {last}"}
    for what, piece, instead in SLIPS[name]:
        if piece not in answer:
            raise ValueError(f"{name}, {what}: the solution has no {piece!r}; mend the slip")
        slips[what] = answer.replace(piece, instead)
    return slips
