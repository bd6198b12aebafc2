"""Glyphs: truly in their fonts, repeatable, balanced, readable by a simple classifier."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from labsupport import data
from labsupport.data import letters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def parts(split):
    return split.train, split.valid, split.test


def clean(alphabet, face):
    maps = torch.from_numpy(letters._distance_maps(alphabet, face))
    return letters._draw(maps, torch.arange(len(maps)), 0.0, 0.0, seeded())


@pytest.mark.parametrize("alphabet", data.ALPHABETS)
def test_every_face_holds_every_character(alphabet):
    for face in data.faces(alphabet):
        known = TTFont(data.font_file(face)).getBestCmap()
        assert [char for char in data.ALPHABETS[alphabet] if ord(char) not in known] == []


def test_there_are_as_many_faces_as_promised():
    count = {alphabet: len(data.faces(alphabet)) for alphabet in data.ALPHABETS}
    for alphabet, number in count.items():
        script = alphabet.split("_")[0]
        if script in ("digits", "latin", "greek", "cyrillic"):
            assert number == 16
        elif script in ("armenian", "georgian"):
            assert number == 12
        else:
            assert number in (2, 4)
    assert len(count) >= 10
    assert all(len(set(chars)) == len(chars) for chars in data.ALPHABETS.values())


@pytest.mark.parametrize("alphabet", data.ALPHABETS)
def test_clean_glyphs_are_inside_centred_and_distinct(alphabet):
    for face in data.faces(alphabet)[:2]:
        images = clean(alphabet, face)[:, 0]
        assert float(images[:, [0, 1, -2, -1]].max()) == float(images[..., [0, 1, -2, -1]].max()) == 0
        assert images.amax((1, 2)).min() > 0.5
        for side in (1, 2):
            inked = images.amax(side) > 0.5
            first, last = inked.int().argmax(1), 27 - inked.flip(1).int().argmax(1)
            assert (first + last - 27).abs().max() <= 1
        rows = torch.nn.functional.normalize(images.flatten(1), dim=1)
        assert (rows @ rows.T).triu(1).max() < 0.998


def test_a_missing_glyph_is_refused(monkeypatch):
    monkeypatch.setattr(letters, "ALPHABETS", {"digits": "0\u0e01"})  # Thai, in no DejaVu face
    letters._distance_maps.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"DejaVu Sans Book has no glyph for 'ก' \(U\+0E01\)"):
        letters._distance_maps("digits", "DejaVuSans")
    letters._distance_maps.cache_clear()


def test_same_generator_state_same_tensors(untouched_global_state):
    one, same, other = (data.glyphs("greek_lower", sizes=(60, 5, 5), generator=seeded(s)) for s in (3, 3, 4))
    for (x, y), (x2, y2) in zip(parts(one), parts(same)):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    assert not torch.equal(one.train[0], other.train[0])


@given(sizes=st.tuples(*[st.integers(1, 40)] * 3), seed=st.integers(0, 9))
def test_sizes_and_balance(sizes, seed):
    split = data.glyphs("digits", sizes=sizes, generator=seeded(seed))
    assert tuple(len(x) for x, _ in parts(split)) == sizes
    counts = torch.cat([y for _, y in parts(split)]).bincount(minlength=10)
    assert counts.max() - counts.min() <= 1
    x = torch.cat([x for x, _ in parts(split)])
    assert x.shape[1:] == (1, 28, 28)
    assert x.dtype == torch.float32
    assert 0 <= x.min() <= x.max() <= 1


def test_smaller_images_are_means_of_the_large_ones():
    large = data.glyphs("greek_upper", sizes=(30, 1, 1), generator=seeded(3)).train[0]
    small = data.glyphs("greek_upper", sizes=(30, 1, 1), size=14, generator=seeded(3)).train[0]
    assert small.shape == (30, 1, 14, 14)
    torch.testing.assert_close(small, large.view(30, 1, 14, 2, 14, 2).mean((3, 5)))


def test_no_distortion_and_no_noise_give_the_clean_glyph():
    faces = data.faces("nko")[:1]
    split = data.glyphs("nko", sizes=(60, 1, 1), faces=faces, distortion=0, noise=0, generator=seeded())
    x, y = split.train
    assert torch.equal(x, clean("nko", faces[0])[y])


def test_clean_ink_is_the_fonts_ink():
    """The distance map must keep each character's area, against Pillow's own drawing at the same size."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (112, 112))
    font = ImageFont.truetype(data.font_file("DejaVuSans-Bold"), 100, layout_engine=ImageFont.Layout.BASIC)
    heights = [letters._ink_box(font, char)[3] - letters._ink_box(font, char)[1] for char in "0123456789"]
    font = font.font_variant(size=100 * 80 / max(heights) * (max(heights) / heights[8]) ** 0.5)
    left, top, right, bottom = letters._ink_box(font, "8")
    corner = ((112 - left - right) / 2, (112 - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, "8", fill=255, font=font, anchor="ls")
    truth = np.asarray(image, dtype=float).reshape(28, 4, 28, 4).mean((1, 3)) / 255
    ours = clean("digits", "DejaVuSans-Bold")[8, 0].numpy()
    assert abs(ours.sum() / truth.sum() - 1) < 0.03
    assert np.abs(ours - truth).mean() < 0.01


@pytest.mark.parametrize("name", ["distortion", "noise"])
def test_more_of_it_goes_further_from_the_clean_glyph(name):
    amounts = {"distortion": 0.0, "noise": 0.0}
    reference = data.glyphs("digits", sizes=(500, 1, 1), **amounts, generator=seeded()).train[0]
    gaps = []
    for amount in (0.25, 0.5, 1.0):
        x = data.glyphs("digits", sizes=(500, 1, 1), **{**amounts, name: amount}, generator=seeded()).train[0]
        gaps.append(float((x - reference).square().mean()))
    assert gaps == sorted(gaps)
    assert gaps[0] > 0


def test_warps_stay_within_the_stated_bounds():
    warp, bumps, weight = letters._random_warps(20_000, 1.0, seeded())
    linear, shift = warp[:, :, :2], warp[:, :, 2]
    pixels = 14 * torch.linalg.solve(linear, shift)  # back to the image's own coordinates
    assert 1.45 < pixels.abs().max() <= 1.5001
    assert -0.1501 <= weight.min() < -0.14
    assert 0.44 < weight.max() <= 0.4501
    stretch = linear.det().log()
    assert 0.25 < stretch.abs().max() <= 0.3001
    moved = 14 * bumps @ letters._elastic_basis(torch.device("cpu"))
    assert abs(float(moved.std()) - 0.7) < 0.01
    assert float((moved.std(0) - 0.7).abs().max()) < 0.03


def test_a_simple_classifier_reads_them():
    """Nearest neighbours must do well but not perfectly: legible and varied."""
    split = data.glyphs("digits", sizes=(3000, 1, 500), generator=seeded()).flat()
    judge = KNeighborsClassifier(3).fit(*(t.numpy() for t in split.train))
    score = judge.score(*(t.numpy() for t in split.test))
    assert 0.9 < score < 1


def test_chosen_faces_alone_are_used():
    kinds = data.faces("tifinagh")
    options = {"sizes": (108, 1, 1), "distortion": 0, "noise": 0}
    one, two = (data.glyphs("tifinagh", faces=[face], **options, generator=seeded()) for face in kinds)
    assert torch.equal(one.train[1], two.train[1])
    assert float(two.train[0].mean()) > 1.2 * float(one.train[0].mean())  # bold has more ink


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"alphabet": "runes"}, "glyphs: alphabet must be one of 'digits', .*, got 'runes'"),
        ({"sizes": (10, 10)}, r"glyphs: sizes must be three integers \(train, valid, test\), got \(10, 10\)"),
        ({"sizes": (10, 0, 1)}, r"glyphs: sizes\[1\] must be an integer >= 1, got 0"),
        ({"distortion": -1}, r"glyphs: distortion must be a number in \[0, 2\], got -1"),
        ({"distortion": float("nan")}, "glyphs: distortion must be .*, got nan"),
        ({"size": 20}, "glyphs: size must be one of 28, 14, 7, got 20"),
        ({"noise": 1.5}, r"glyphs: noise must be a number in \[0, 1\], got 1.5"),
        ({"faces": []}, "glyphs: faces must be one or more different names, or None for all"),
        ({"faces": "DejaVuSans"}, "glyphs: faces must be one or more different names"),
        ({"faces": ["Comic"]}, "glyphs: each of faces must be one of 'DejaVuSans', .*, got 'Comic'"),
        ({"generator": 0}, "glyphs: generator must be a torch.Generator, got 0"),
    ],
)
def test_glyphs_refuse(changed, message):
    options = {"alphabet": "digits", "sizes": (10, 10, 10), "generator": seeded(), **changed}
    with pytest.raises(ValueError, match=message):
        data.glyphs(options.pop("alphabet"), **options)


def test_fonts_are_found_without_importing_matplotlib():
    code = (
        "import sys, torch; from labsupport import data;"
        "data.glyphs('ogham', sizes=(2, 1, 1), generator=torch.Generator());"
        "assert 'matplotlib' not in sys.modules and 'IPython' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_font_is_named(monkeypatch, tmp_path):
    from labsupport.data import scripts

    monkeypatch.setattr(scripts, "_font_folder", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"glyphs: .*DejaVuSans\.ttf is missing; install matplotlib again"):
        data.font_file("DejaVuSans")


@pytest.mark.parametrize("faces", [{"DejaVuSans"}, np.array(["DejaVuSans"]), 3, [["DejaVuSans"]], ["DejaVuSans"] * 2])
def test_glyphs_refuse_faces_without_an_order(faces):
    with pytest.raises(ValueError, match=r"glyphs: (each of )?faces must be one"):
        data.glyphs("digits", sizes=(3, 3, 3), faces=faces, generator=seeded())
    with pytest.raises(ValueError, match=r"font_file: face must be one of 'DejaVuSans', .*, got 'Arial'"):
        data.font_file("Arial")
