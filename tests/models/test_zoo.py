"""The whole zoo against the counts and receptive fields that papers and other libraries publish.

Parameters and multiply-adds of convolutions and linear layers, at each net's usual input. The torchvision rows agree
with the figures in torchvision 0.29's own metadata; the others follow from the papers' tables.
"""

import re
import tracemalloc

import pytest

from minicnn import inspect, models
from minicnn.inspect.literature import literature
from minicnn.models import densenet, resnet_cifar
from minicnn.nn import init

COUNTS = [  # model, options, input (None: its own), parameters, MACs (None: not published)
    ("alexnet", {}, None, 61_100_840, 714_188_480),
    ("vgg11", {}, None, 132_863_336, 7_609_090_048),
    ("vgg11_bn", {}, None, 132_868_840, 7_609_090_048),
    ("vgg13", {}, None, 133_047_848, 11_308_466_176),
    ("vgg13_bn", {}, None, 133_053_736, 11_308_466_176),
    ("vgg16", {}, None, 138_357_544, 15_470_264_320),
    ("vgg16_bn", {}, None, 138_365_992, 15_470_264_320),
    ("vgg19", {}, None, 143_667_240, 19_632_062_464),
    ("vgg19_bn", {}, None, 143_678_248, 19_632_062_464),
    ("googlenet", {}, None, 6_624_904, 1_498_376_192),
    ("inception_v3", {}, None, 23_834_568, 5_713_216_096),
    ("resnet18", {}, None, 11_689_512, 1_814_073_344),
    ("resnet34", {}, None, 21_797_672, 3_663_761_408),
    # without the three projections: 64·128 + 128·256 + 256·512 weights and 2 for each of their 896 maps;
    # 64·128 products on 28×28, 128·256 on 14×14 and 256·512 on 7×7 outputs
    ("plain18", {}, None, 11_689_512 - 172_032 - 1_792, 1_814_073_344 - 3 * 6_422_528),
    ("plain34", {}, None, 21_797_672 - 172_032 - 1_792, 3_663_761_408 - 3 * 6_422_528),
    ("resnet50", {}, None, 25_557_032, 4_089_184_256),
    ("resnet101", {}, None, 44_549_160, 7_801_405_440),
    ("resnet152", {}, None, 60_192_808, 11_513_626_624),
    ("wide_resnet50_2", {}, None, 68_883_240, 11_398_021_120),
    ("wide_resnet101_2", {}, None, 126_886_696, 22_753_050_624),
    ("resnext50_32x4d", {}, None, 25_028_904, 4_230_479_872),
    ("resnext101_32x8d", {}, None, 88_791_336, 16_414_015_488),
    ("resnext101_64x4d", {}, None, 83_455_272, 15_460_270_080),
    ("densenet121", {}, None, 7_978_856, 2_834_161_664),
    ("densenet161", {}, None, 28_681_000, 7_727_907_072),
    ("densenet169", {}, None, 14_149_480, 3_359_843_328),
    ("densenet201", {}, None, 20_013_928, 4_291_365_888),
    ("squeezenet1_0", {}, None, 1_248_424, 818_924_576),
    ("squeezenet1_1", {}, None, 1_235_496, 349_151_936),
    ("mobilenet_v2", {}, None, 3_504_872, 300_774_272),
    ("mobilenet_v3_large", {}, None, 5_483_032, 216_589_760),
    ("mobilenet_v3_small", {}, None, 2_542_856, 56_510_400),
    # the papers' originals
    ("lenet5", {"variant": "1998"}, None, 60_000, None),
    ("lenet5", {}, None, 61_706, 416_520),
    ("lenet5", {"variant": "caffe"}, None, 431_080, 2_293_000),
    ("alexnet", {"variant": "paper"}, None, 60_965_224, 724_406_816),
    ("alexnet", {"variant": "paper", "groups": 1}, None, 62_378_344, 1_135_256_096),
    ("zfnet", {}, None, 62_357_608, 1_168_032_896),
    ("zfnet", {"variant": "wide"}, None, 107_627_624, 2_476_704_896),
    ("vgg16_c", {}, None, 133_638_952, None),
    ("nin_cifar", {}, None, 966_986, 222_486_528),
    ("nin_imagenet", {}, None, 7_595_176, 1_105_996_320),
    ("googlenet", {"variant": "paper"}, None, 6_998_552, 1_582_671_872),
    ("resnet50", {"variant": "paper"}, None, 25_557_032, 3_857_973_248),
    ("resnet101", {"variant": "paper"}, None, 44_549_160, 7_570_194_432),
    ("resnet152", {"variant": "paper"}, None, 60_192_808, 11_282_415_616),
    ("resnet20", {}, None, 269_722, 40_551_040),
    ("plain20", {}, None, 269_722, 40_551_040),
    ("resnet32", {}, None, 464_154, 68_862_592),
    ("resnet44", {}, None, 658_586, 97_174_144),
    ("resnet56", {}, None, 853_018, 125_485_696),
    ("plain56", {}, None, 853_018, 125_485_696),
    ("resnet110", {}, None, 1_727_962, 252_887_680),
    ("resnet110_stochastic_depth", {}, None, 1_727_962, 252_887_680),
    ("resnet1202", {}, None, 19_421_274, 2_829_238_912),
    ("wrn_40_1", {}, None, 563_930, None),
    ("wrn_40_2", {}, None, 2_243_546, None),
    ("wrn_40_4", {}, None, 8_949_210, None),
    ("wrn_16_4", {}, None, 2_748_890, None),
    ("wrn_16_8", {}, None, 10_961_370, None),
    ("wrn_22_8", {}, None, 17_158_106, None),
    ("wrn_28_10", {}, None, 36_479_194, 5_243_328_768),
    ("wrn_28_12", {}, None, 52_517_850, None),
    ("densenet40_12", {}, None, 1_019_722, None),
    ("densenet100_12", {}, None, 6_979_642, None),
    ("densenet100_24", {}, None, 27_249_082, None),
    ("densenet_bc100_12", {}, None, 769_162, 287_929_692),
    ("densenet_bc250_24", {}, None, 15_324_406, None),
    ("densenet_bc190_40", {}, None, 25_624_430, None),
    ("resnext29_8x64d", {}, None, 34_426_698, 5_387_266_048),
    ("resnext29_16x64d", {}, None, 68_155_210, 10_688_866_304),
    ("mobilenet_v1", {}, None, 4_231_976, 568_740_352),
    ("mobilenet_v1", {"width": 0.75}, None, 2_585_560, 325_400_448),
    ("mobilenet_v1", {"width": 0.5}, None, 1_331_592, 149_497_088),
    ("mobilenet_v1", {"width": 0.25}, None, 470_072, 41_030_272),
    ("mobilenet_v1", {"separable": False}, None, 29_294_088, 4_867_293_184),
    ("mobilenet_v1", {}, (3, 192, 192), 4_231_976, 418_121_728),
    ("mobilenet_v1", {}, (3, 160, 160), 4_231_976, 290_675_200),
    ("mobilenet_v1", {}, (3, 128, 128), 4_231_976, 186_400_768),
]

FIELDS = [  # model, options, receptive field and total stride of the last map before it is pooled to one
    ("alexnet", {"variant": "paper"}, 195, 32),
    ("vgg11", {}, 150, 32),
    ("vgg13", {}, 156, 32),
    ("vgg16", {}, 212, 32),
    ("vgg19", {}, 268, 32),
    ("inception_v3", {}, 1311, 32),
    ("mobilenet_v1", {}, 315, 32),
    ("mobilenet_v2", {}, 491, 32),
    ("resnet50", {"variant": "paper"}, 483, 32),
    ("resnet101", {"variant": "paper"}, 1027, 32),
    ("resnet152", {"variant": "paper"}, 1507, 32),
    ("resnet50", {}, 427, 32),
    ("resnet101", {}, 971, 32),
    ("resnet152", {}, 1451, 32),
    ("resnet18", {}, 435, 32),
    ("resnet34", {}, 899, 32),
    ("zfnet", {}, 171, 32),
    ("resnet20", {}, 81, 4),
    ("resnet56", {}, 249, 4),
    ("resnet110", {}, 501, 4),
    ("densenet121", {}, 2071, 32),
    ("squeezenet1_0", {}, 155, 16),
    ("squeezenet1_1", {}, 207, 16),
    ("googlenet", {"variant": "paper"}, 715, 32),
    ("googlenet", {}, 379, 32),
]


def measure(name, options, shape=None):
    with init.shapes_only():
        net = models.build(name, **options)
    return net, inspect.summary(net, shape or models.input_shape(name, options.get("variant", "")))


@pytest.mark.parametrize(("name", "options", "shape", "parameters", "macs"), COUNTS, ids=str)
def test_counts_to_the_last_digit(name, options, shape, parameters, macs):
    net, report = measure(name, options, shape)
    assert report.totals["parameters"] == parameters == sum(p.size for p in net.parameters())
    if macs is not None:
        assert report.totals["macs"] == macs


def test_googlenet_and_inception_with_their_auxiliary_classifiers():
    for name, options, parameters in (("googlenet", {}, 13_004_888), ("googlenet", {"variant": "paper"}, 13_378_280),
                                      ("inception_v3", {}, 27_161_264)):  # fmt: skip
        net, report = measure(name, {**options, "aux": True})
        assert report.totals["parameters"] == parameters == sum(p.size for p in net.parameters())


def test_option_b_of_the_cifar_resnets():
    with init.shapes_only():
        sizes = [sum(p.size for p in resnet_cifar.resnet_cifar(d, shortcut="B").parameters()) for d in (20, 56)]
    assert sizes == [272_474, 855_770]


@pytest.mark.parametrize(("name", "options", "field", "stride"), FIELDS, ids=str)
def test_receptive_fields(name, options, field, stride):
    _, report = measure(name, options)
    windows = [x for x in report.layers if x.kernel and len(x.output) == 3]
    assert [max(x.field[axis] for x in windows) for axis in (0, 1)] == [field, field]
    assert windows[-1].total_stride == (stride, stride)


def test_receptive_fields_along_the_way():
    fields = {x.name: x.field[0] for x in measure("vgg16", {})[1].layers if x.kind in ("Conv2d", "MaxPool2d")}
    assert [fields[f"features.{i}"] for i in (0, 14, 24, 30)] == [3, 40, 132, 212]
    alexnet = [
        x.field[0] for x in measure("alexnet", {"variant": "paper"})[1].layers if x.kind in ("Conv2d", "MaxPool2d")
    ]
    assert alexnet == [11, 19, 51, 67, 99, 131, 163, 195]
    depthwise = [x.field[0] for x in measure("mobilenet_v1", {})[1].layers if x.groups > 1]
    assert depthwise == [7, 11, 19, 27, 43, 59, 91, 123, 155, 187, 219, 251, 315]
    lenet = [x.field[0] for x in measure("lenet5", {"variant": "1998"})[1].layers if x.output == (120, 1, 1)]
    assert lenet[0] == 32


@pytest.mark.parametrize("name", models.names())
def test_every_net_says_what_it_is_and_takes_classes_and_channels(name):
    builder, shape = models.MODELS[name]
    assert builder.__doc__
    for variant in models.variants(name) or [""]:
        options = {"num_classes": 7, "in_channels": 2, **({"variant": variant} if variant else {})}
        if (name, variant) == ("lenet5", "1998"):
            options["num_classes"] = 10  # the codes that its output is compared with are ten digits
        size = models.input_shape(name, variant)[1:]
        _, report = measure(name, options, (2, *size))
        assert report.layers[-1].output == (options["num_classes"],)
    assert shape[0] in (1, 3)


@pytest.mark.slow
def test_the_docstrings_count_as_the_code_does():
    for name in models.names():
        text = models.MODELS[name][0].__doc__
        said = {int(n.replace(",", "")) for n in re.findall(r"\b\d{1,3}(?:,\d{3})+\b", text)}
        totals = measure(name, {})[1].totals
        assert totals["parameters"] in said, name


def test_vgg19_is_measured_without_drawing_its_weights():
    tracemalloc.start()
    try:
        measure("vgg19", {})
        assert tracemalloc.get_traced_memory()[1] < 2**22          # its 144 million weights would take 575 MB
    finally:
        tracemalloc.stop()


def test_every_number_in_the_remarks_is_one_that_we_count():
    known = {1_792, 2_416, 1_516, 61_706, 13_004_888, 6_998_552, 6_624_904, 21_888, 4_253_864}
    totals = measure("mobilenet_v1", {})[1].totals
    assert totals["buffers"] == 21_888
    assert totals["parameters"] + totals["buffers"] == 4_253_864
    for entry in literature().values():
        for remark in entry.remarks:
            assert {int(n.replace(",", "")) for n in re.findall(r"\b\d{1,3}(?:,\d{3})+\b", remark)} <= known


def test_what_the_common_resnets_cost_more_than_the_papers():
    for name, percent in (("resnet50", "5.99 %"), ("resnet101", "3.05 %"), ("resnet152", "2.05 %")):
        common, paper = (measure(name, options)[1].totals["macs"] for options in ({}, {"variant": "paper"}))
        assert f"{100 * (common - paper) / paper:.2f} %" == percent
        assert f": the same parameters, {percent} more multiply-adds" in literature()[name].remarks[0]


DIFFER = {"alexnet", "googlenet", "mobilenet_v2", "mobilenet_v3_large", "preact_resnet1001", "resnext29_16x64d"}
"""Nets whose paper prints a size that our count does not round to; their remarks or pages say why."""


def test_the_sizes_that_papers_print_are_our_counts_rounded():
    checked = set()
    for name, entry in literature().items():
        for claim in entry.claims:
            said = re.match(r"(\d+\.?\d*) million", claim.words)
            if claim.what == "parameters" and said:
                digits = len(said[1].partition(".")[2])
                count = measure(name, {})[1].totals["parameters"] / 1e6
                assert (f"{count:.{digits}f}" == said[1]) is (name not in DIFFER), name
                assert abs(count - float(said[1])) <= max(0.04 * count, 0.5 * 10**-digits)  # those that differ, too
                checked.add(name)
    assert len(checked) > 30
    assert checked > DIFFER


def test_one_recipe_a_column():
    known = literature()
    assert (known["resnext101_64x4d"].top1, known["resnext101_64x4d"].top1_modern) == (79.6, 83.246)
    both = [entry for entry in known.values() if entry.top1_modern]
    assert all(entry.top1_modern > entry.top1 for entry in both)
    assert all(entry.top1 < 80 for entry in known.values() if entry.top1), "no classic recipe reaches 80 %"


def test_the_literature_speaks_of_nets_that_exist():
    assert set(literature()) <= set(models.names())


def test_densenet_cifar_refuses_a_depth_that_does_not_fit():
    with pytest.raises(ValueError, match="41"):
        densenet.densenet_cifar(41, 12)
