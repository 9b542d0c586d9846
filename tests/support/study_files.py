"""The CSV and JSON files of studies, as a run's folder has them."""

ABLATION = """row,member,seeds,macro_f1,macro_f1_low,macro_f1_high,seed_sd,accuracy,difference,\
difference_low,difference_high,p,p_corrected
full,m0,3,0.5,0.4,0.6,0.01,0.52,,,,,
full,mean,3,0.5,0.4,0.6,0.01,0.52,,,,,
one_hot,m0,3,0.44,0.34,0.54,0.02,0.46,-0.06,-0.09,-0.03,0.0004998,0.0019992
one_hot,mean,3,0.4412,0.34,0.54,0.02,0.46,-0.0588,-0.09,-0.03,0.0004998,0.0019992
late_fusion,mean,3,0.49,0.39,0.59,,0.51,-0.01,-0.04,0.02,0.4,0.8
"""


ENSEMBLE = """system,members,learned_from,seeds,macro_f1,macro_f1_low,macro_f1_high,seed_sd,\
accuracy,ece,against,difference,difference_low,difference_high,p,p_corrected
soft_vote,all,,3,0.5,0.4,0.6,0.01,0.52,0.1,,,,,,
soup,all,train,3,0.5511,0.45,0.65,0.02,0.57,0.08,soft_vote all,0.0511,0.02,0.08,0.004,0.03
"""


QUESTIONS = {
    "rows": [{"macro_f1": 0.5}, {"macro_f1": 0.5511}],
    "questions": [
        {
            "question": "Does the soup beat the soft vote?",
            "one": "soup, all",
            "other": "soft_vote, all",
            "difference": 0.0511,
            "difference_low": 0.02,
            "difference_high": 0.08,
            "p": 0.004,
            "p_corrected": 0.008,
        }
    ],
    "notes": ["What the study was made with."],
}
