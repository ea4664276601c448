"""The text of the demo collection's two binary documents."""

from __future__ import annotations

from typing import TypeAlias

#: (kind, text); a table's rows are lines and its cells stand between `|`.
Piece: TypeAlias = tuple[str, str]

_CONFIDENTIALITY = (
    "Each party shall keep confidential all information that it receives from the other party in connection with this "
    "agreement, shall use it only to perform this agreement, and shall return or destroy it when this agreement ends."
)
_BEYOND_CONTROL = (
    "Neither party is liable for a failure to perform that is caused by an event beyond its reasonable control, "
    "provided that it informs the other party of the event within five days."
)

CONTRACT: list[Piece] = [
    ("title", "Maintenance Contract MC-118"),
    (
        "paragraph",
        "This contract is made on 2 June 2025 between Kestrel Bay Water Authority, 2 Harbour Street, Kestrel Bay, Oregon "
        '("the Authority") and Estuary Electric LLC, 77 Marine Drive, Astoria, Oregon ("the Contractor").',
    ),
    ("heading", "Services"),
    (
        "paragraph",
        "The Contractor shall inspect and maintain the electrical equipment of the seven lift stations listed in Table 1 "
        "twice a year, in April and in October, and shall send a written report within ten working days after each visit.",
    ),
    ("paragraph", "Each inspection includes at least the following work:"),
    ("bullet", "testing the surge arresters and replacing those that have tripped;"),
    ("bullet", "measuring the insulation resistance of both pump cables;"),
    ("bullet", "testing every alarm up to the telephone of the operator on duty;"),
    ("bullet", "cleaning the cabinet and tightening all terminals."),
    ("caption", "Table 1. Lift stations covered by this contract"),
    (
        "table",
        "Station|Location|Pumps|Commissioned\nKB-LS-01|Gull Point|2|9 June 2025\nKB-LS-02|Old Harbour|2|14 May 2025\n"
        "KB-LS-04|Quarry Road|2|3 September 2024\nKB-LS-07|Tarn Bridge|2|22 November 2024",
    ),
    ("heading", "Emergency call-out service outside working hours"),
    (
        "paragraph",
        "The Contractor shall keep a technician on call at all times. The technician shall be on site within sixty "
        "minutes after a call, and within ninety minutes when the county has closed a road because of weather.",
    ),
    (
        "paragraph",
        "If the Contractor fails to arrive in time more than twice in a calendar quarter, the Authority may reduce the fee "
        "for that quarter by 15 %.",
    ),
    ("picture", ""),
    ("picture", "Map of the seven lift stations with driving times from Astoria"),
    ("caption", "Figure 2. Driving times from the Contractor's yard"),
    ("heading", "Fees"),
    (
        "paragraph",
        "The Authority shall pay USD 58,400 per year for the services, in four equal instalments at the end of each quarter. "
        "Call-outs are paid at USD 165 per hour, with a minimum of two hours.",
    ),
    (
        "paragraph",
        "Materials are paid at cost plus 8 %. A purchase above USD 2,500 requires the prior written approval of Aaron Feld "
        "or of a person whom he has named.",
    ),
    ("heading", "Safety"),
    (
        "paragraph",
        "It is required that the personal protective equipment that is necessary be worn by all personnel at all times "
        "during the performance of any and all work activities on the site.",
    ),
    ("heading", "Term"),
    (
        "paragraph",
        "This contract starts on 1 July 2025 and ends on 30 June 2028. Either party may terminate it at the end of a "
        "contract year by giving ninety days' written notice.",
    ),
    ("heading", "General provisions"),
    ("paragraph", _CONFIDENTIALITY),
    ("paragraph", _BEYOND_CONTROL),
    ("paragraph", "☒ Certificate of insurance attached"),
    ("paragraph", "☐ List of technicians with licence numbers attached"),
    (
        "paragraph",
        "Signed in Kestrel Bay on 2 June 2025 by Dolores Whitfield for the Authority and by Tomasz Wrona for the Contractor.",
    ),
]

SURVEY: list[list[Piece]] = [
    [
        ("title", "Site survey of lift station 4"),
        (
            "paragraph",
            "Survey carried out on 18 and 19 June 2024 by Priya Raman, P.E., of Holm & Raman Engineers, Portland, for "
            "Kestrel Bay Water Authority. Weather: dry, 17 to 22 degrees.",
        ),
        ("heading", "Location and access"),
        (
            "paragraph",
            "Lift station 4 stands at 31 Quarry Road, about 40 metres from Tarn Creek. A gravel road, 3.1 metres wide, leads "
            "to the gate. A crane with a capacity of 2.5 tonnes can reach the wet well only if the eastern fence is removed.",
        ),
        (
            "paragraph",
            "The owner of the neighbouring plot, Mr. Everett Sandoval, has agreed in writing that vehicles may cross his land "
            "between 1 August and 30 September 2024, for a payment of USD 1,200.",
        ),
        ("heading", "Structure"),
        (
            "paragraph",
            "The wet well is a concrete shaft of 1974, 2.4 metres in diameter and 6.8 metres deep. The concrete is sound above "
            "the water line. Below it, corrosion has removed up to 22 mm of the surface, and reinforcement is visible at four places.",
        ),
        ("paragraph", "The following repairs must be completed before new pumps are installed:"),
        ("bullet", "remove loose concrete and restore the cover with repair mortar of class R4;"),
        ("bullet", "replace the cast-iron access ladder, which has lost two rungs;"),
        ("bullet", "seal the cable entry on the north wall, through which ground water runs."),
    ],
    [
        ("heading", "Electrical supply"),
        (
            "paragraph",
            "The station is supplied by an overhead line of 480 volts from the transformer at Quarry Road 12. The line is "
            "exposed over a length of 310 metres. Two outages caused by lightning were recorded in 2021 and one in 2023.",
        ),
        (
            "paragraph",
            "We recommend a surge arrester of type 1 at the incoming supply and one of type 2 in the control cabinet. The cost "
            "is about USD 1,450. The designer has confirmed that both will be included in the specification.",
        ),
        ("heading", "Flow measurements"),
        (
            "paragraph",
            "Inflow was measured for 26 hours. The mean was 21 litres per second and the highest value 58 litres per second, at "
            "07:40 on 19 June. After heavy rain, inflow can be expected to reach 95 litres per second.",
        ),
        (
            "paragraph",
            "It can be seen from the measurements which were carried out that there is a significant amount of ground water that "
            "is finding its way into the system, the amount of which was estimated by us to be in the order of 6 litres per second.",
        ),
        ("heading", "Conclusions and recommendations of the survey"),
        (
            "paragraph",
            "The station can be rebuilt within its present walls. Two pumps of type HM-410 are sufficient until 2045 if the "
            "infiltration is reduced by half. The work takes about five weeks and should not begin after 15 September.",
        ),
    ],
    [
        ("heading", "Limits of this report"),
        (
            "paragraph",
            "This report describes what was visible on the days of the survey. Pipes in the ground were not inspected. The report "
            "may be used only by the Authority and by the contractors whom it engages for the reconstruction of the station.",
        ),
        ("paragraph", _BEYOND_CONTROL),
        ("paragraph", "Portland, 2 July 2024. Priya Raman, P.E., Holm & Raman Engineers."),
    ],
]
